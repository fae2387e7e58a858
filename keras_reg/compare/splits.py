"""Splits a data set into training, validation and test, with noisy labels where they belong, and scales it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError
from keras_reg.compare.noise import Noise

Index = npt.NDArray[np.int64]

# Of a data set without a test set of its own: 1,797 digits become 1,300 / 197 / 300.
_TEST_SHARE = 1 / 6
_VALIDATION_SHARE = 0.11


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a split.

    Attributes:
        x: The scaled samples, float32.
        true: The labels of the data set.
        given: The labels that are used, noisy except in the test.
        index: Where the samples are in the data set (in its own test set, if it has one, for the test).
    """

    x: npt.NDArray[np.float32]
    true: Index
    given: Index
    index: Index

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Which of the given labels are not the data set's."""
        return np.asarray(self.given != self.true)


@dataclasses.dataclass(frozen=True)
class Split:
    """Training data, an equally noisy validation part, and a clean test."""

    train: Part
    validation: Part
    test: Part


def split(dataset: Dataset, noise: Noise, seed: int, max_samples: int | None = None) -> Split:
    """Draws the split and the label noise of one seed.

    Args:
        dataset: The data set.
        noise: The noise of the training and validation labels.
        seed: Decides which samples go where and which labels are wrong.
        max_samples: Use at most this many samples (and as many of a test set of its own).

    Returns:
        The split, stratified by the data set's labels.
    """
    train, validation, test = _draw(dataset, np.random.default_rng([seed, 0]), max_samples)
    if dataset.num_classes > len(np.unique(dataset.y[train])):
        raise InputError(f"{len(train)} training samples do not cover all classes; use more samples")
    scale = _scaling(dataset, train)
    own_test = dataset.x_test is not None and dataset.y_test is not None
    x_test, y_test = (dataset.x_test, dataset.y_test) if own_test else (dataset.x, dataset.y)
    given = [noise.given_labels(dataset, part, 2 * seed + offset) for offset, part in enumerate((train, validation))]
    return Split(
        train=Part(scale(dataset.x[train]), dataset.y[train], given[0], train),
        validation=Part(scale(dataset.x[validation]), dataset.y[validation], given[1], validation),
        test=Part(scale(x_test[test]), y_test[test], y_test[test], test),  # type: ignore[index]
    )


def _draw(dataset: Dataset, rng: np.random.Generator, max_samples: int | None) -> tuple[Index, Index, Index]:
    """The positions of the three parts."""
    pool = np.arange(len(dataset.y))
    if max_samples is not None and max_samples < len(pool):
        pool = stratified(dataset.y, pool, max_samples, rng)
    if dataset.y_test is None:
        test = stratified(dataset.y, pool, math.ceil(len(pool) * _TEST_SHARE), rng)
        rest = np.setdiff1d(pool, test)
        validation = stratified(dataset.y, rest, max(1, int(len(pool) * _VALIDATION_SHARE)), rng)
    else:
        test, rest = np.arange(len(dataset.y_test)), pool
        if max_samples is not None and max_samples < len(test):
            test = stratified(dataset.y_test, test, max_samples, rng)
        validation = stratified(dataset.y, rest, max(1, int(len(rest) * _VALIDATION_SHARE)), rng)
    return np.setdiff1d(rest, validation), validation, test


def stratified(labels: Index, pool: Index, size: int, rng: np.random.Generator) -> Index:
    """Draws `size` of the positions in `pool`, each class by its share.

    Every class gets the whole part of its share; the rest goes to the classes with the largest remainders.

    Args:
        labels: The labels of all positions.
        pool: The positions to draw from.
        size: How many to draw.
        rng: The source of randomness.

    Returns:
        The drawn positions, sorted.
    """
    classes, counts = np.unique(labels[pool], return_counts=True)
    shares = counts * (size / len(pool))
    quotas = np.floor(shares).astype(np.int64)
    largest = np.argsort(quotas - shares, kind="stable")[: size - int(quotas.sum())]
    quotas[largest] += 1
    drawn = [rng.permutation(pool[labels[pool] == c])[:quota] for c, quota in zip(classes, quotas, strict=True)]
    return np.sort(np.concatenate(drawn))


def _scaling(dataset: Dataset, train: Index) -> Any:
    """A function that scales samples; whatever it measures, it measures on the training part."""
    x = dataset.x
    if not dataset.is_image:
        mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
        # A constant feature says nothing; dividing by one leaves it at zero.
        deviation = np.where(deviation > 0, deviation, 1)
        return lambda part: ((part - mean) / deviation).astype(np.float32)
    if x.dtype == np.uint8:
        return lambda part: part.astype(np.float32) / 255
    low, high = float(x[train].min()), float(x[train].max())
    if low >= 0 and high <= 1:
        return lambda part: part.astype(np.float32)
    width = (high - low) or 1.0
    return lambda part: ((part - low) / width).astype(np.float32)
