"""Compares early-learning regularization and self-distillation with plain training on CIFAR-10N's human label noise.

    KERAS_BACKEND=tensorflow python benchmarks/evidence/cifar10n.py --images cifar10.npz --labels CIFAR-10_human.pt
    python benchmarks/evidence/cifar10n.py --table

The images are those that `keras_reg compare` accepts (`cifar10` downloads them). The labels are the public file of
CIFAR-10N, or an `.npz` with the same names. Each seed draws 10,000 training images. A part of them is the validation
split, with labels of the same kind. The 10,000 test images have clean labels.

By default a model with three small convolutions is trained for 20 epochs with Adam 1e-3, which takes minutes on a CPU.
On a GPU, use `--model resnet --samples 50000 --epochs 120`. Methods have the defaults of their papers, and nothing is
tuned. "Chosen" is the epoch with the best result on the validation split.

Rows are added to `cifar10n.csv` beside this file; rows in this file are not computed again.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
from typing import Any

import keras
from rows import known, write

import keras_reg
from keras_reg.compare.statistics import estimate

FILE = pathlib.Path(__file__).with_suffix(".csv")
NOISES = {"aggregate": "aggre_label", "random1": "random_label1", "worse": "worse_label"}
METHODS = ("plain", "early_learning", "self_distillation")
SCORES = ("test_accuracy", "test_nll", "test_ece", "found", "false_alarms")
SETTING = ("model", "samples", "epochs", "backend")
COLUMNS = ("noise", "wrong (%)", "method", "epoch", "test accuracy (%)", "gain (points)", "NLL", "calibration error")
DETECTION = ("wrong labels found (%)", "false alarms (%)")
FIELDS = ("noise", *SETTING, "seed", "wrong", "method", "epoch", *SCORES, "seconds")


def small(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Builds three convolutions and a hidden layer: 0.6 million parameters are enough to memorize wrong labels."""
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(64, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = keras.layers.Dense(128, activation="relu")(keras.layers.Flatten()(x))
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x))


def train(images: str, labels: str, noise: str, seed: int, setting: dict[str, Any]) -> list[dict[str, Any]]:
    """Trains all methods, and returns a row for the last and the chosen epoch of each."""
    model = setting["model"]
    result = keras_reg.compare.run(
        images,
        f"{labels}#{NOISES[noise]}",
        METHODS[1:],
        seeds=[seed],
        epochs=setting["epochs"],
        model="cifar10n:small" if model == "small" else model,
        max_samples=setting["samples"],
        progress=False,
    )
    first = {"noise": noise, **setting, "seed": seed, "wrong": result.facts["wrong_labels_train"]}
    return [
        {**first, "method": run.label, "epoch": choice, "seconds": run.seconds}
        | {score: run.figure(score, choice) for score in SCORES}
        for run in result.scored
        for choice in ("last", "chosen")
    ]


def shown(values: list[float], factor: float = 1.0, form: str = ".3f") -> str:
    """Formats a mean over seeds with its 95 % interval."""
    mean = estimate([factor * value for value in values])
    half = "" if mean.half_width is None else f" ± {format(mean.half_width, form.lstrip('+'))}"
    return format(mean.mean, form) + half


def table() -> None:
    """Prints the means of the rows in the file, and the gain over plain training with the same seeds."""
    rows = known(FILE)
    for setting in dict.fromkeys(tuple(row[name] for name in SETTING) for row in rows):
        print(", ".join(f"{name}: {value}" for name, value in zip(SETTING, setting, strict=True)) + "\n")
        print(
            "| noise | wrong (%) | method | epoch | test accuracy (%) | gain (points) | NLL | calibration error |",
            end="",
        )
        print(" wrong labels found (%) | false alarms (%) |\n" + "|---" * 10 + "|")
        own = [row for row in rows if tuple(row[name] for name in SETTING) == setting]
        for noise, epoch in itertools.product(dict.fromkeys(row["noise"] for row in own), ("last", "chosen")):
            same = [row for row in own if (row["noise"], row["epoch"]) == (noise, epoch)]
            columns = {method: [row for row in same if row["method"] == method] for method in METHODS}
            accuracies = {method: [100 * float(row["test_accuracy"]) for row in columns[method]] for method in METHODS}
            for method, chosen in columns.items():
                gain = [a - b for a, b in zip(accuracies[method], accuracies["plain"], strict=True)]
                cells = [noise, shown([float(row["wrong"]) for row in chosen], 100, ".1f"), method, epoch]
                cells += [shown(accuracies[method], 1, ".1f"), "-" if method == "plain" else shown(gain, 1, "+.1f")]
                cells += [shown([float(row[score]) for row in chosen]) for score in SCORES[1:3]]
                cells += [
                    shown([float(row[s]) for row in chosen], 100, ".1f") if chosen[0][s] else "-" for s in SCORES[3:]
                ]
                print("|", " | ".join(cells), "|")
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", default="cifar10", help="an .npz file, or `cifar10` to download it")
    parser.add_argument("--labels", default="CIFAR-10_human.pt", help="the file of CIFAR-10N")
    parser.add_argument("--model", default="small", help="`small`, or a model of `keras_reg compare`")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    arguments = parser.parse_args()
    if not arguments.table:
        values = (arguments.model, arguments.samples, arguments.epochs, keras.backend.backend())
        setting = dict(zip(SETTING, values, strict=True))
        done = {tuple(row[name] for name in ("noise", *SETTING, "seed")) for row in known(FILE)}
        for seed, noise in itertools.product(range(arguments.seeds), NOISES):
            if (noise, *map(str, values), str(seed)) not in done:
                for row in train(arguments.images, arguments.labels, noise, seed, setting):
                    write(FILE, FIELDS, row)
    table()


if __name__ == "__main__":
    main()
