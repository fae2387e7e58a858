"""Makes random inputs of a given size for the functions that `ops.py` measures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Inputs = Callable[[np.random.Generator, int], list[np.ndarray]]
CARDINALITIES = tuple(0 if column % 2 else 5 for column in range(32))


def normal(*shapes: Callable[[int], tuple[int, ...]]) -> Inputs:
    return lambda rng, n: [rng.normal(size=shape(n)).astype("float32") for shape in shapes]


def uniform(*ranges: tuple[float, float]) -> Inputs:
    """Returns a function that makes a vector of random numbers for each pair of bounds."""
    return lambda rng, n: [rng.uniform(*bounds, n).astype("float32") for bounds in ranges]


def probabilities(rng: np.random.Generator, rows: int, classes: int = 100) -> np.ndarray:
    return rng.dirichlet(np.full(classes, 0.3), rows).clip(1e-4, 0.9).astype("float32")


def predictions(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Returns distinct confidences, and ones where the predictions are right."""
    confidence = (rng.permutation(n) + 0.5) / n
    return [confidence.astype("float32"), (rng.uniform(size=n) < confidence).astype("float32")]


def scored(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Returns log-odds, and ones where the predictions are right."""
    return [rng.uniform(-12, 32, n).astype("float32"), rng.integers(0, 2, n).astype("float32")]


def images(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    pixels, share, centers = rng.uniform(size=(n, 32, 32, 3)), rng.uniform(0.2, 0.8, n), rng.uniform(size=(n, 2))
    order = rng.permutation(n).astype("int32")
    return [pixels.astype("float32"), order, share.astype("float32"), centers.astype("float32")]


def table_rows(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Returns rows of a table, and the weights that turn its columns into tokens of width 64."""
    x = rng.integers(0, 5, (n, len(CARDINALITIES))).astype("float32")
    sizes = CARDINALITIES.count(0), sum(CARDINALITIES), len(CARDINALITIES)
    return [x, *(rng.normal(size=(size, 64)).astype("float32") for size in sizes)]


def labelled(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    return [rng.integers(0, 100, n).astype("int32"), 3 * rng.normal(size=(n, 100)).astype("float32")]


def distilled(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    return [probabilities(rng, n), probabilities(rng, n), np.log(probabilities(rng, n))]


def tokens(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    return [rng.normal(size=(n, 64, 64)).astype("float32"), rng.integers(0, 64, (n, 16)).astype("int32")]


def kept_rows(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    values, rest = -np.sort(-rng.uniform(size=(n, 10))), rng.uniform(size=n)
    places = np.argsort(rng.uniform(size=(n, 1000)))[:, :10]
    return [values.astype("float32"), places.astype("int32"), rest.astype("float32")]


def with_vector(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    """Returns a matrix and its first singular vector, which is a fixed point of the power iteration."""
    matrix = rng.normal(size=(2 * n, n)).astype("float32")
    return [matrix, np.linalg.svd(matrix)[0][:, 0]]


def masked(rng: np.random.Generator, n: int) -> list[np.ndarray]:
    return [rng.normal(size=n).astype("float32"), rng.integers(0, 2, n).astype("float32")]
