"""Compares a self-tuned L2 strength for digits with grid, random and Bayesian search in the same time.

    pip install optuna
    KERAS_BACKEND=jax python benchmarks/evidence/self_tuning.py
    KERAS_BACKEND=jax python benchmarks/evidence/self_tuning.py --table

Each seed divides the data differently: 250 images to train, 500 to tune, 1047 to test. The network is 64-128-128-10
with one L2 strength for all kernels. It is trained with Adam 0.003 for 120 epochs, in batches of 50.

- `self_tuning` starts from three strengths.
- Each of the three searches gets the time of one self-tuned training run. The first such run in the process is not
  timed, because it compiles everything. A search tests the network with the best tuning loss of its trials.
- `constant` is the whole grid, regardless of the time it takes.

Rows are added to `self_tuning.csv` beside this file; rows in this file are not computed again.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rows import known, write

import keras_reg

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "start", "seed", "backend", "l2", "tuning_nll", "test_nll", "seconds", "trials")
GRID = (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
STARTS, SEEDS, EPOCHS = (1e-5, 1e-3, 1e-2), (0, 1, 2), 120
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def data(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = (x[order] / 16).astype("float32"), y[order].astype("int32")
    return [(x[a:b], y[a:b]) for a, b in ((0, 250), (250, 750), (750, None))]


def train(l2: float, seed: int, callbacks: Any = ()) -> tuple[keras.Model, float]:
    """Trains the network, and returns it with the seconds that this took."""
    keras.utils.set_random_seed(seed)
    decay = keras_reg.tune.Float("l2", init=l2, low=0.0, log=True)
    layers = [
        keras.layers.Dense(units, activation, kernel_regularizer=keras_reg.regularizers.TunableL2(decay))
        for units, activation in ((128, "relu"), (128, "relu"), (10, None))
    ]
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(keras.optimizers.Adam(3e-3), LOGITS)
    start = time.perf_counter()
    model.fit(*data(seed)[0], batch_size=50, epochs=EPOCHS, verbose=0, callbacks=list(callbacks))
    return model, time.perf_counter() - start


def losses(model: keras.Model, seed: int) -> dict[str, float]:
    """Returns the losses on the tuning and the test images, without penalties."""
    parts = zip(("tuning_nll", "test_nll"), data(seed)[1:], strict=True)
    return {name: float(LOGITS(y, model.predict(x, verbose=0))) for name, (x, y) in parts}


def self_tuned(start: float, seed: int) -> dict[str, Any]:
    tuning = keras_reg.callbacks.SelfTuning(data(seed)[1], learning_rate=0.03, batch_size=500, seed=seed)
    model, seconds = train(start, seed, [tuning])
    return {"l2": f"{tuning.values['l2']:.3g}", **losses(model, seed), "seconds": seconds, "trials": 1}


def searched(
    seed: int, budget: float, suggest: Callable[[], Any], tell: Callable[[Any, float], None]
) -> dict[str, Any]:
    """Returns the best trial that ends within the budget. The first trial counts, however long it takes."""
    best: dict[str, Any] = {}
    start, trials = time.perf_counter(), 0
    while True:
        trial, l2 = suggest()
        if l2 is None:
            break
        model, _ = train(l2, seed)
        if trials and time.perf_counter() - start > budget:
            break
        trials += 1
        scores = losses(model, seed)
        tell(trial, scores["tuning_nll"])
        if not best or scores["tuning_nll"] < best["tuning_nll"]:
            best = {"l2": f"{l2:.3g}", **scores}
    return {**best, "seconds": min(budget, time.perf_counter() - start), "trials": trials}


def search(method: str, seed: int, budget: float) -> dict[str, Any]:
    if method == "grid":
        # The time may not be enough for all values, so the grid starts in the middle.
        values = iter(sorted(GRID, key=lambda value: abs(np.log(value / 1e-3))))
        return searched(seed, budget, lambda: (None, next(values, None)), lambda trial, score: None)
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = optuna.samplers
    sampler = samplers.RandomSampler(seed=seed) if method == "random" else samplers.TPESampler(seed=seed)
    study = optuna.create_study(sampler=sampler)

    def suggest() -> Any:
        trial = study.ask()
        return trial, trial.suggest_float("l2", 1e-6, 3e-2, log=True)

    return searched(seed, budget, suggest, study.tell)


def table() -> None:
    rows = known(FILE)
    for method, start in dict.fromkeys((row["method"], row["start"]) for row in rows):
        own = [row for row in rows if (row["method"], row["start"]) == (method, start)]
        means = [np.array([float(row[key]) for row in own]) for key in ("tuning_nll", "test_nll", "seconds", "trials")]
        cells = [f"{value.mean():.3f} ± {value.std(ddof=1):.3f}" for value in means[:2]]
        found = ", ".join(row["l2"] for row in own)
        print(
            f"| {method} {start} | {cells[0]} | {cells[1]} | {found} | {means[2].mean():.1f} | {means[3].mean():.1f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    if parser.parse_args().table:
        table()
        return
    done = {(row["method"], row["start"], row["seed"]) for row in known(FILE)}
    self_tuned(1e-3, 0)  # not timed: compiles what later runs reuse
    for seed in SEEDS:
        for l2 in GRID:
            if ("constant", f"{l2:g}", str(seed)) not in done:
                model, seconds = train(l2, seed)
                row = {"l2": f"{l2:g}", **losses(model, seed), "seconds": seconds, "trials": 1}
                add("constant", f"{l2:g}", seed, row)
        for start in STARTS:
            if ("self_tuning", f"{start:g}", str(seed)) not in done:
                add("self_tuning", f"{start:g}", seed, self_tuned(start, seed))
        own = [r for r in known(FILE) if r["method"] == "self_tuning" and r["seed"] == str(seed)]
        budget = float(np.mean([float(row["seconds"]) for row in own]))
        for method in ("grid", "random", "bayesian"):
            if (method, "", str(seed)) not in done:
                add(method, "", seed, search(method, seed, budget))
    table()


def add(method: str, start: str, seed: int, row: dict[str, Any]) -> None:
    write(FILE, FIELDS, {"method": method, "start": start, "seed": seed, "backend": keras.backend.backend(), **row})


if __name__ == "__main__":
    main()
