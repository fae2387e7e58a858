"""Measures how thin the layers of a network for digits become with trained rank pruning, and the loss of accuracy.

    KERAS_BACKEND=jax python benchmarks/evidence/low_rank.py

The network is that of `examples/pruning.py`. It is trained for 40 epochs, either without a method or with `NuclearNorm`
and `TrainedRankPruning`. Then it is factorized with the same energy, 0.9, and trained for 20 more epochs. The strength
of the nuclear norm is chosen on the validation images of one split, seed 100. The table is for the test images of three
other splits. Rows are added to `low_rank.csv` beside this file; rows in this file are not computed again. `--table`
prints the means.
"""

from __future__ import annotations

import argparse
import pathlib

import keras
import numpy as np
from rows import known, pruning_example, write

import keras_reg

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "strength", "seed", "trained", "factorized", "fine_tuned", "validation", "parameters", "speed_up")
GRID = {"plain": (0.0,), "trained_rank_pruning": (3e-4, 1e-3, 3e-3)}
TUNING, TESTING, ENERGY = 100, (0, 1, 2), 0.9


def run(method: str, strength: float, seed: int) -> dict[str, float]:
    module = pruning_example()
    keras.utils.set_random_seed(seed)
    parts, model, callbacks = module.data(seed), module.network("plain", 0.0), []
    if method == "trained_rank_pruning":
        keras_reg.apply_regularizer(model, keras_reg.regularizers.NuclearNorm(strength))
        callbacks = [keras_reg.callbacks.TrainedRankPruning(every_n_steps=20, energy=ENERGY)]
    module.fit(model, parts["train"], 40, 0.1, callbacks)
    keras_reg.remove_regularizers(model) if callbacks else None
    thin = keras_reg.low_rank_factorize(model, energy=ENERGY)
    scores = {"trained": module.accuracy(model, parts["test"]), "factorized": module.accuracy(thin, parts["test"])}
    module.fit(thin, parts["train"], 20, 0.01)
    scores["fine_tuned"] = module.accuracy(thin, parts["test"])
    scores["validation"] = module.accuracy(thin, parts["validation"])
    scores["parameters"] = thin.count_params() / model.count_params()
    whole, small = module.seconds([model, thin])
    return {**scores, "speed_up": whole / small}


def add(method: str, strength: float, seed: int) -> None:
    if any(
        (row["method"], float(row["strength"]), int(row["seed"])) == (method, strength, seed) for row in known(FILE)
    ):
        return
    row = {"method": method, "strength": str(strength), "seed": seed, **run(method, strength, seed)}
    write(FILE, FIELDS, row)


def chosen(method: str) -> float:
    """Returns the strength with the fewest parameters within half a point of the best validation accuracy."""
    rows = [row for row in known(FILE) if row["method"] == method and int(row["seed"]) == TUNING]
    best = max(float(row["validation"]) for row in rows)
    good = [row for row in rows if float(row["validation"]) >= best - 0.005]
    return float(min(good, key=lambda row: float(row["parameters"]))["strength"])


def table() -> None:
    names = FIELDS[3:6] + FIELDS[7:]
    print(f"| method | strength | {' | '.join(names)} |\n|{'---|' * (len(names) + 2)}")
    for method in GRID:
        rows = [row for row in known(FILE) if row["method"] == method and int(row["seed"]) in TESTING]
        if rows:
            columns = [np.array([float(row[name]) for row in rows]) for name in names]
            cells = " | ".join(f"{column.mean():.3f} ± {column.std(ddof=1):.3f}" for column in columns)
            print(f"| {method} | {rows[0]['strength']} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    if not parser.parse_args().table:
        for name, strengths in GRID.items():
            for one in strengths:
                add(name, one, TUNING)
            for number in TESTING:
                add(name, chosen(name), number)
    table()
