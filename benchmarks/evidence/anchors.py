"""Measures what a network remembers of a first task after it learns a second one, with and without anchors.

    KERAS_BACKEND=jax python benchmarks/evidence/anchors.py

The first task is handwritten digits, the second the same digits with permuted pixels. Each task has 800 images and 30
epochs of Adam; the network has two hidden layers of 100. Each method's strength is chosen from a grid of three by the
best mean accuracy on 200 validation images of both tasks, over three splits (seeds 100 to 102). The table is for the
797 test images of five other splits. Rows are added to `anchors.csv` beside this file; rows in this file are not
computed again. `--table` prints the means.
"""

from __future__ import annotations

import argparse
import pathlib

import keras
import numpy as np
from keras import layers
from rows import known, write
from sklearn.datasets import load_digits

import keras_reg
from keras_reg import regularizers

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "strength", "seed", "validation_first", "validation_second", "first", "second")
TUNING, TESTING = (100, 101, 102), (0, 1, 2, 3, 4)
GRID = {
    "plain": (0.0,),
    "weight decay (L2)": (1e-4, 1e-3, 1e-2),
    "AnchoredL2": (1e-2, 1e-1, 1.0),
    "ElasticWeightConsolidation": (100.0, 1000.0, 10000.0),
}


def run(method: str, strength: float, seed: int) -> list[float]:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    x, y = load_digits(return_X_y=True)
    order, pixels = rng.permutation(len(x)), rng.permutation(64)
    x, y = (x[order] / 16.0).astype("float32"), y[order].astype("int32")
    tasks = x, x[:, pixels]
    train, validation, test = slice(0, 800), slice(800, 1000), slice(1000, None)
    model = keras.Sequential(
        [keras.Input((64,)), layers.Dense(100, "relu"), layers.Dense(100, "relu"), layers.Dense(10)]
    )
    for task, inputs in enumerate(tasks):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
        if task == 1 and strength:
            if method == "AnchoredL2":
                penalty = regularizers.AnchoredL2(strength)
            elif method == "ElasticWeightConsolidation":
                fisher = keras_reg.training.fisher_diagonal(model, (tasks[0][train], y[train]))
                penalty = regularizers.ElasticWeightConsolidation(fisher, strength)
            else:
                penalty = keras.regularizers.L2(strength)
            keras_reg.apply_regularizer(model, penalty, variables=["kernel", "bias"])
        model.fit(inputs[train], y[train], epochs=30, batch_size=32, verbose=0)
    return [
        float(np.mean(model.predict(inputs[part], verbose=0).argmax(-1) == y[part]))
        for part in (validation, test)
        for inputs in tasks
    ]


def rows_of(method: str, seeds: tuple[int, ...]) -> list[dict[str, str]]:
    return [row for row in known(FILE) if row["method"] == method and int(row["seed"]) in seeds]


def add(method: str, strength: float, seeds: tuple[int, ...]) -> None:
    done = {int(row["seed"]) for row in rows_of(method, seeds) if float(row["strength"]) == strength}
    for seed in sorted(set(seeds) - done):
        scores = dict(zip(FIELDS[3:], run(method, strength, seed), strict=True))
        write(FILE, FIELDS, {"method": method, "strength": str(strength), "seed": seed, **scores})


def chosen(method: str) -> float:
    def validation(strength: float) -> float:
        rows = [row for row in rows_of(method, TUNING) if float(row["strength"]) == strength]
        return float(np.mean([float(row[f"validation_{task}"]) for row in rows for task in ("first", "second")]))

    return max(GRID[method], key=validation)


def table() -> None:
    print("| method | strength | first task (%) | second task (%) | mean (%) |\n|---|---|---|---|---|")
    for method in GRID:
        rows = rows_of(method, TESTING)
        if rows:
            scores = 100 * np.array([[float(row[task]) for task in ("first", "second")] for row in rows])
            columns = [*scores.T, scores.mean(1)]
            cells = " | ".join(f"{column.mean():.1f} ± {column.std(ddof=1):.1f}" for column in columns)
            print(f"| {method} | {rows[0]['strength']} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    if not parser.parse_args().table:
        for name, grid in GRID.items():
            for one in grid if len(grid) > 1 else ():
                add(name, one, TUNING)
            add(name, chosen(name) if len(grid) > 1 else grid[0], TESTING)
    table()
