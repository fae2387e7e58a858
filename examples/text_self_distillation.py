"""Trains a small text transformer with and without progressive self-distillation (PS-KD), and compares calibration.

    python examples/text_self_distillation.py [file] [epochs]

Each line of the file has a class, a tab, and a text. Without a file, the texts are docstrings of Python's standard
library, and the class of a text is its module. In the output, `plain` is training without a method.
"""

from __future__ import annotations

import collections
import importlib
import inspect
import itertools
import pathlib
import re
import sys

import keras
import numpy as np

import keras_reg

#: Modules whose docstrings use more than one word for the same thing.
MODULES = ("collections", "decimal", "logging", "mailbox", "pathlib", "ssl", "statistics", "tarfile", "threading")
WORDS, LENGTH, WIDTH = 2000, 48, 32


def docstrings() -> tuple[list[str], list[str]]:
    """Returns the distinct docstrings of functions, classes and methods of `MODULES`, and the module of each one."""
    texts: dict[str, str] = {}
    for name in MODULES:
        things = [thing for _, thing in inspect.getmembers(importlib.import_module(name)) if callable(thing)]
        things += [part for thing in things if inspect.isclass(thing) for _, part in inspect.getmembers(thing)]
        for thing in things:
            text = inspect.getdoc(thing) or ""
            if callable(thing) and len(text.split()) > 4:
                texts.setdefault(text, name)
    return list(texts), list(texts.values())


def read(file: str) -> tuple[list[str], list[str]]:
    """Returns the texts and classes of a file."""
    rows = [line.split("\t", 1) for line in pathlib.Path(file).read_text().splitlines() if line.strip()]
    wrong = [row for row in rows if len(row) != 2]
    if wrong or not rows:
        raise SystemExit(f"{file} needs lines that have a class, a tab and a text. Found: {wrong[:1] or 'nothing'}")
    return [row[1] for row in rows], [row[0] for row in rows]


def encode(texts: list[str], known: list[str]) -> tuple[np.ndarray, list[str]]:
    """Encodes words as numbers, and returns the known words too: 0 is padding, 1 an unknown word.

    If no words are given, the most frequent words of the texts are the known ones.
    """
    split = [re.findall(r"[a-z]+", text.lower()) for text in texts]
    words = known or [word for word, _ in collections.Counter(itertools.chain(*split)).most_common(WORDS - 2)]
    number = {word: index + 2 for index, word in enumerate(words)}
    rows = [[number.get(word, 1) for word in row[:LENGTH]] for row in split]
    return np.array([row + [0] * (LENGTH - len(row)) for row in rows], "int32"), words


class Positions(keras.layers.Layer):
    """Adds a trained vector for each position to the word vectors. The mask of the padding is kept."""

    supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the vectors."""
        self.table = self.add_weight(shape=input_shape[1:], initializer="random_normal", name="table")

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Returns the sum of inputs and position vectors."""
        return inputs + self.table


def transformer(num_classes: int) -> keras.Model:
    """Builds a transformer of one block over word vectors, followed by their mean and a classifier."""
    words = keras.Input((LENGTH,), dtype="int32", name="words")
    embedding = keras.layers.Embedding(WORDS, WIDTH, mask_zero=True)
    x = Positions()(embedding(words))
    attended = keras.layers.MultiHeadAttention(4, WIDTH // 4)(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
    hidden = keras.layers.Dense(WIDTH)(keras.layers.Dense(2 * WIDTH, "relu")(x))
    x = keras.layers.LayerNormalization()(keras.layers.Add()([x, hidden]))
    # Attention removes the mask from its inputs, and from Keras 3.16 on pooling finds no other one: pass it explicitly.
    mean = keras.layers.GlobalAveragePooling1D()(x, mask=embedding.compute_mask(words))
    return keras.Model(words, keras.layers.Dense(num_classes)(mean))


def main(file: str | None = None, epochs: int = 30) -> dict[str, dict[str, float]]:
    """Trains with and without the method. Returns accuracy, likelihood and calibration on a fifth of the texts."""
    texts, names = read(file) if file else docstrings()
    classes = sorted(set(names))
    labels = np.array([classes.index(name) for name in names], "int32")
    order = np.random.default_rng(0).permutation(len(texts))
    test, train = order[: len(texts) // 5], order[len(texts) // 5 :]
    x, words = encode([texts[index] for index in train], [])
    x_test, _ = encode([texts[index] for index in test], words)  # words that occur only in test texts are unknown
    print(f"{len(x)} texts to train on, {len(x_test)} to test, {len(classes)} classes")

    results = {}
    for method in ("plain", "self-distillation"):
        keras.utils.set_random_seed(0)
        model = transformer(len(classes))
        metrics = [
            "accuracy",
            keras_reg.metrics.NegativeLogLikelihood(from_logits=True, name="nll"),
            keras_reg.metrics.ExpectedCalibrationError(from_logits=True, name="calibration_error"),
        ]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(2e-3), loss, metrics=metrics)
        distillation = keras_reg.callbacks.ProgressiveSelfDistillation(num_samples=len(x), num_classes=len(classes))
        model.fit(
            keras_reg.data.with_sample_ids(model, x),
            labels[train],
            batch_size=64,
            epochs=epochs,
            callbacks=[distillation] if method == "self-distillation" else [],
            verbose=0,
        )
        scores = model.evaluate(x_test, labels[test], verbose=0, return_dict=True)
        results[method] = {name: scores[name] for name in ("accuracy", "nll", "calibration_error")}
        print(method, {name: round(value, 4) for name, value in results[method].items()}, flush=True)
    return results


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:1], **({"epochs": int(arguments[1])} if arguments[1:] else {}))
