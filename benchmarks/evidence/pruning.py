"""Measures how small and fast a network for digits becomes by pruning, and the loss of accuracy.

    KERAS_BACKEND=jax python benchmarks/evidence/pruning.py

The script runs `examples/pruning.py`. First it tries each strength on one split, seed 100, and scores the validation
images only. It chooses the strength with the fewest parameters within half a point of the best validation accuracy.
With this strength, it scores the test images of other splits. `scratch` is a network of the pruned size that is trained
from new weights for as many epochs. Rows are added to `pruning.csv` beside this file; rows in this file are not
computed again. `--table` prints the means.
"""

from __future__ import annotations

import argparse
import pathlib

import keras
import numpy as np
from rows import known, pruning_example, write

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "strength", "seed", "trained", "pruned", "fine_tuned", "validation", "scratch", "filters")
FIELDS += ("parameters", "speed_up")
GRID = {
    "plain": (0.0,),
    "sparsity_mask": (0.003, 0.01, 0.03),
    "polarization": (0.001, 0.003, 0.01),
    "group_envelope": (0.003, 0.01, 0.03),
}
TUNING = 100


def run(method: str, strength: float, seed: int, epochs: int) -> None:
    if any(
        (row["method"], float(row["strength"]), int(row["seed"])) == (method, strength, seed) for row in known(FILE)
    ):
        return
    module = pruning_example()
    row = module.main(method, seed, epochs, strength)
    row["strength"] = str(strength)
    if seed != TUNING and method != "plain":
        keras.utils.set_random_seed(seed)
        parts = module.data(seed)
        scratch = module.network("plain", 0.0, tuple(int(width) for width in row["filters"].split("-")))
        module.fit(scratch, parts["train"], epochs + epochs // 2, 0.1)
        row["scratch"] = module.accuracy(scratch, parts["test"])
    write(FILE, FIELDS, row)


def chosen(method: str) -> float:
    rows = [row for row in known(FILE) if row["method"] == method and int(row["seed"]) == TUNING]
    best = max(float(row["validation"]) for row in rows)
    good = [row for row in rows if float(row["validation"]) >= best - 0.005]
    return float(min(good, key=lambda row: (float(row["parameters"]), -float(row["validation"])))["strength"])


def table() -> None:
    for method in GRID:
        rows = [r for r in known(FILE) if r["method"] == method and int(r["seed"]) != TUNING]
        cells = []
        for field in ("trained", "pruned", "fine_tuned", "scratch", "parameters", "speed_up"):
            values = np.array([float(row[field]) for row in rows if row[field]])
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            cells.append(f"{values.mean():.3f} ± {spread:.3f}" if len(values) else "-")
        print(f"| {method} | {rows[0]['strength'] if rows else '-'} | {len(rows)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    options = parser.parse_args()
    if not options.table:
        for name, strengths in GRID.items():
            for one in strengths:
                run(name, one, TUNING, options.epochs)
            for number in range(options.seeds):
                run(name, chosen(name), number, options.epochs)
    table()
