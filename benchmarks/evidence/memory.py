"""Measures the accuracy that half-precision and top-k memories cost, on handwritten digits with wrong labels.

    KERAS_BACKEND=jax python benchmarks/evidence/memory.py

The splits, noise, model and training are those of `python -m keras_reg compare`:

- 1,300 digits, of which 40 % have a wrong label
- an MLP, trained with Adam 1e-3 for 100 epochs
- an evaluation on clean test images after the last epoch

The seed determines split, noise and weights, so the runs of one seed differ only in the storage. Rows are added to
`memory.csv` beside this file; rows in this file are not computed again. `--table` prints the means and the paired
difference from the dense memory in float32 with its 95 % interval.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import keras
import numpy as np
from rows import known, write
from scipy import stats

from keras_reg import callbacks, data
from keras_reg.callbacks import Storage
from keras_reg.compare import scores
from keras_reg.compare.datasets import load_dataset
from keras_reg.compare.models import mlp
from keras_reg.compare.noise import Noise
from keras_reg.compare.splits import split

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "storage", "seed", "bytes", "test_accuracy", "nll", "calibration_error", "found", "false_alarms")
DENSE = "float32"
STORAGES: dict[str, Any] = {
    DENSE: None,
    "float16": "float16",
    "bfloat16": "bfloat16",
    "top 1": Storage(top_k=1),
    "top 2": Storage(top_k=2),
    "top 5": Storage(top_k=5),
    "top 2, bfloat16": Storage("bfloat16", top_k=2),
}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "early_learning": (callbacks.EarlyLearningRegularization, {}),
    "early_learning, momentum 0.99": (callbacks.EarlyLearningRegularization, {"momentum": 0.99}),
    "self_distillation": (callbacks.ProgressiveSelfDistillation, {}),
}


def train(method: str, storage: str, seed: int, epochs: int) -> dict[str, Any]:
    cls, arguments = METHODS[method]
    parts = split(load_dataset("digits"), Noise("symmetric", 0.4), seed)
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    model = mlp(parts.train.x.shape[1:], 10)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = cls(len(parts.train.x), 10, storage=STORAGES[storage], **arguments)
    x = data.with_sample_ids(model, parts.train.x)
    model.fit(x, parts.train.labels, batch_size=64, epochs=epochs, verbose=0, callbacks=[callback])
    result = scores.score(model.predict(parts.test.x, verbose=0), parts.test.true_labels)
    row = {"method": method, "storage": storage, "seed": seed, "bytes": f"{callback.memory.bytes_per_sample:g}"}
    row |= {"test_accuracy": result["accuracy"], "nll": result["nll"], "calibration_error": result["ece"]}
    if isinstance(callback, callbacks.EarlyLearningRegularization):
        suspected = callback.suspected_noise(parts.train.labels)
        row |= {"found": float(suspected[parts.train.wrong].mean())}
        row |= {"false_alarms": float(suspected[~parts.train.wrong].mean())}
    return row


def table() -> None:
    print(
        "| method | storage | bytes per sample | test accuracy | difference | NLL | wrong labels found | false alarms |"
    )
    print("|---|---|---|---|---|---|---|---|")
    rows = {(row["method"], row["storage"], int(row["seed"])): row for row in known(FILE)}
    for method in METHODS:
        for storage in STORAGES:
            mine = [row for key, row in rows.items() if key[:2] == (method, storage)]
            if not mine:
                continue
            pairs = [rows[method, DENSE, int(row["seed"])] for row in mine]
            accuracy = np.array([100 * float(row["test_accuracy"]) for row in mine])
            gain = accuracy - [100 * float(row["test_accuracy"]) for row in pairs]
            spread = stats.t.ppf(0.975, max(len(gain) - 1, 1)) * gain.std(ddof=1) / np.sqrt(len(gain))
            cells = [method, storage, mine[0]["bytes"], f"{accuracy.mean():.1f} %"]
            cells += ["-" if storage == DENSE else f"{gain.mean():+.1f} ± {spread:.1f}"]
            cells += [f"{np.mean([float(row['nll']) for row in mine]):.3f}"]
            for field in ("found", "false_alarms"):
                found = [100 * float(row[field]) for row in mine if row[field]]
                cells += [f"{np.mean(found):.1f} %" if found else "-"]
            print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    given = parser.parse_args()
    done = {(row["method"], row["storage"], int(row["seed"])) for row in known(FILE)}
    for seed in range(0 if given.table else given.seeds):
        for method in METHODS:
            for storage in STORAGES:
                if (method, storage, seed) not in done:
                    write(FILE, FIELDS, train(method, storage, seed, given.epochs))
    table()


if __name__ == "__main__":
    main()
