"""Measures the accuracy of each regularizer on few samples: 200 training images of handwritten digits.

    KERAS_BACKEND=jax python benchmarks/evidence/regularizers.py

The model is a small convolutional network, or a small transformer for methods that regularize attention. The strength
of a method is chosen from a grid of three by the best mean accuracy on 200 validation images, over three splits (seeds
100 to 102). The table is for the 1397 test images of five other splits. The effort is the same for each method, and
nothing was chosen on test images. Rows are added to `regularizers.csv` beside this file; rows in this file are not
computed again. `--table` prints the means and the paired difference from training without a method, with its 95 %
interval.
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from rows import known, write
from scipy import stats
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg
from keras_reg import regularizers

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("method", "strength", "seed", "validation", "test")
TUNING, TESTING = (100, 101, 102), (0, 1, 2, 3, 4)
EPOCHS, BATCH = 80, 50
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def split(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, train_size=400, stratify=y, random_state=seed)
    x, x_val, y, y_val = train_test_split(x, y, train_size=200, stratify=y, random_state=seed)
    return (x, y), (x_val, y_val), (x_test, y_test)


def convolutional(term: Callable[[Any, Any], Any] = lambda inputs, hidden: hidden) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    hidden = layers.Dense(64, "relu")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10)(term(inputs, hidden)))


def transformer(term: Callable[[Any, Any], Any] = lambda outputs, scores: outputs) -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    tokens = layers.Dense(32)(layers.Reshape((8, 8))(inputs))
    tokens = tokens + layers.Embedding(8, 32)(np.arange(8)[None])
    for _ in range(2):
        attention = layers.MultiHeadAttention(2, 16)
        outputs, scores = attention(tokens, tokens, return_attention_scores=True)
        tokens = layers.LayerNormalization()(tokens + term(outputs, scores))
        tokens = layers.LayerNormalization()(tokens + layers.Dense(32)(layers.Dense(64, "relu")(tokens)))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling1D()(tokens)))


def weights(make: Callable[[float], Any], **where: Any) -> Callable[[float], keras.Model]:
    """Returns a function that builds the convolutional network with all kernels but the last regularized."""

    def build(strength: float) -> keras.Model:
        model = convolutional()
        keras_reg.apply_regularizer(model, make(strength), exclude=model.layers[-1].name, **where)
        return model

    return build


def entropy(kind: str) -> Callable[[float], keras.Model]:
    return lambda strength: transformer(
        lambda outputs, scores: keras_reg.layers.AttentionEntropy(strength, kind=kind)(outputs, attention_scores=scores)
    )


def bottleneck(strength: float) -> keras.Model:
    def term(inputs: Any, hidden: Any) -> Any:
        layer = keras_reg.layers.CauchySchwarzBottleneck(strength, input_bandwidth=3.0, bandwidth=3.0)
        return layer([layers.Flatten()(inputs), hidden])

    return convolutional(term)


#: For each method: a function that builds the network for a strength, and the strengths to try.
METHODS: dict[str, tuple[Callable[[float], keras.Model], tuple[float, ...]]] = {
    "plain": (lambda strength: convolutional(), (0.0,)),
    "weight decay (L2)": (weights(keras.regularizers.L2), (1e-4, 1e-3, 1e-2)),
    "OrthogonalConvolution": (weights(regularizers.OrthogonalConvolution), (1e-3, 1e-2, 1e-1)),
    "SoftOrthogonality": (weights(regularizers.SoftOrthogonality), (1e-3, 1e-2, 1e-1)),
    "NuclearNorm": (weights(regularizers.NuclearNorm), (1e-4, 1e-3, 1e-2)),
    "GroupEnvelope": (weights(lambda s: regularizers.GroupEnvelope(s, num_groups=8)), (1e-4, 1e-3, 1e-2)),
    "GeneralizedGaussianPrior": (
        weights(lambda s: regularizers.GeneralizedGaussianPrior(s, shape=0.8)),
        (1e-5, 1e-4, 1e-3),
    ),
    "Dispersive": (
        lambda strength: convolutional(lambda inputs, hidden: keras_reg.layers.Dispersive(strength)(hidden)),
        (0.05, 0.25, 0.5),
    ),
    "CauchySchwarzBottleneck": (bottleneck, (1e-2, 1e-1, 1.0)),
    "StableMaxCrossentropy": (lambda strength: convolutional(), (0.0,)),
    "OrthogonalGradient": (lambda strength: convolutional(), (0.0,)),
    "plain transformer": (lambda strength: transformer(), (0.0,)),
    "AttentionEntropy (maximize)": (entropy("maximize"), (1e-2, 1e-1, 1.0)),
    "AttentionEntropy (threshold)": (entropy("threshold"), (1e-2, 1e-1, 1.0)),
}


class Trained:
    """Keeps one compiled model for all seeds, because compiling takes longer than training."""

    def __init__(self, method: str, strength: float) -> None:
        self.build = lambda: METHODS[method][0](strength)
        self.model = self.build()
        optimizer: Any = keras.optimizers.Adam(2e-3)
        if method == "OrthogonalGradient":
            optimizer = keras_reg.optimizers.OrthogonalGradient(optimizer)
        loss = keras_reg.losses.StableMaxCrossentropy() if method == "StableMaxCrossentropy" else LOSS
        self.model.compile(optimizer, loss)
        optimizer.build(self.model.trainable_variables)
        self.start = [np.array(keras.ops.convert_to_numpy(variable)) for variable in optimizer.variables]

    def scores(self, seed: int) -> tuple[float, float]:
        keras.utils.set_random_seed(seed)
        self.model.set_weights(self.build().get_weights())
        for variable, value in zip(self.model.optimizer.variables, self.start, strict=True):
            variable.assign(value)
        train, validation, test = split(seed)
        self.model.fit(*train, batch_size=BATCH, epochs=EPOCHS, verbose=0)
        return tuple(np.mean(self.model.predict(x, verbose=0).argmax(-1) == y) for x, y in (validation, test))


def rows_of(method: str, seeds: tuple[int, ...]) -> list[dict[str, str]]:
    return [row for row in known(FILE) if row["method"] == method and int(row["seed"]) in seeds]


def run(method: str, strength: float, seeds: tuple[int, ...]) -> None:
    done = {int(row["seed"]) for row in rows_of(method, seeds) if float(row["strength"]) == strength}
    if done == set(seeds):
        return
    trained = Trained(method, strength)
    for seed in sorted(set(seeds) - done):
        validation, test = trained.scores(seed)
        row = {"method": method, "strength": str(strength), "seed": seed}
        write(FILE, FIELDS, {**row, "validation": float(validation), "test": float(test)})


def chosen(method: str) -> float:
    rows = rows_of(method, TUNING)
    return max(
        METHODS[method][1],
        key=lambda s: np.mean([float(row["validation"]) for row in rows if float(row["strength"]) == s]),
    )


def table() -> None:
    print("| method | strength | test accuracy (%) | difference from plain (points) |\n|---|---|---|---|")
    for method in METHODS:
        rows = sorted(rows_of(method, TESTING), key=lambda row: int(row["seed"]))
        base = rows_of("plain transformer" if "ttention" in method else "plain", TESTING)
        if not rows or len(rows) != len(base):
            continue
        score, plain = (100 * np.array([float(row["test"]) for row in some]) for some in (rows, base))
        gain = score - plain
        half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
        difference = "-" if method.startswith("plain") else f"{gain.mean():+.2f} ± {half:.2f}"
        print(f"| {method} | {rows[0]['strength']} | {score.mean():.2f} ± {score.std(ddof=1):.2f} | {difference} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    if not parser.parse_args().table:
        for name, (_, grid) in METHODS.items():
            for one in grid if len(grid) > 1 else ():
                run(name, one, TUNING)
            run(name, chosen(name) if len(grid) > 1 else grid[0], TESTING)
    table()
