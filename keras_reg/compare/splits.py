"""Splits a dataset into training, validation and test parts, adds label noise, and scales the samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from keras_reg._types import Array
from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError
from keras_reg.compare.noise import Noise

Index = npt.NDArray[np.int64]

# These shares apply to a dataset without a separate test set: 1,797 digits become 1,300 / 197 / 300.
_TEST_SHARE = 1 / 6
_VALIDATION_SHARE = 0.11


@dataclasses.dataclass(frozen=True)
class Part:
    """Holds one part of a split.

    Attributes:
        x: The scaled samples, float32.
        true_labels: The labels of the dataset.
        labels: The labels to use, which are noisy except in the test part.
        index: The positions of the samples in the dataset, or in its separate test set for the test part.
    """

    x: npt.NDArray[np.float32]
    true_labels: Index
    labels: Index
    index: Index

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Returns True for each label that differs from that of the dataset."""
        return np.asarray(self.labels != self.true_labels)


@dataclasses.dataclass(frozen=True)
class Split:
    """Holds a training part, an equally noisy validation part, and a clean test part."""

    train: Part
    validation: Part
    test: Part


def split(dataset: Dataset, noise: Noise, seed: int, max_samples: int | None = None) -> Split:
    """Draws the split and the label noise of one seed.

    Args:
        dataset: The dataset.
        noise: The noise of the training and validation labels.
        seed: The seed, which determines the parts and the wrong labels.
        max_samples: The largest number of samples, and of samples of a separate test set.

    Returns:
        The split, stratified by the dataset's labels.

    Raises:
        InputError: If the training part does not contain all classes.
    """
    train, validation, test = _draw(dataset, np.random.default_rng([seed, 0]), max_samples)
    if dataset.num_classes > len(np.unique(dataset.y[train])):
        raise InputError(f"{len(train)} training samples do not cover all classes; use more samples")
    scale = _fit_scaling(dataset, train)
    separate = dataset.x_test is not None and dataset.y_test is not None
    x_test, y_test = (dataset.x_test, dataset.y_test) if separate else (dataset.x, dataset.y)
    noisy = [noise.draw_labels(dataset, part, 2 * seed + offset) for offset, part in enumerate((train, validation))]
    return Split(
        train=Part(scale(dataset.x[train]), dataset.y[train], noisy[0], train),
        validation=Part(scale(dataset.x[validation]), dataset.y[validation], noisy[1], validation),
        test=Part(scale(x_test[test]), y_test[test], y_test[test], test),  # type: ignore[index]
    )


def _draw(dataset: Dataset, rng: np.random.Generator, max_samples: int | None) -> tuple[Index, Index, Index]:
    """Draws the positions of the three parts."""
    pool = np.arange(len(dataset.y))
    if max_samples is not None and max_samples < len(pool):
        pool = draw_stratified(dataset.y, pool, max_samples, rng)
    if dataset.y_test is None:
        test = draw_stratified(dataset.y, pool, math.ceil(len(pool) * _TEST_SHARE), rng)
        rest = np.setdiff1d(pool, test)
        validation = draw_stratified(dataset.y, rest, max(1, int(len(pool) * _VALIDATION_SHARE)), rng)
    else:
        test, rest = np.arange(len(dataset.y_test)), pool
        if max_samples is not None and max_samples < len(test):
            test = draw_stratified(dataset.y_test, test, max_samples, rng)
        validation = draw_stratified(dataset.y, rest, max(1, int(len(rest) * _VALIDATION_SHARE)), rng)
    return np.setdiff1d(rest, validation), validation, test


def draw_stratified(labels: Index, pool: Index, size: int, rng: np.random.Generator) -> Index:
    """Draws positions from a pool, stratified by class.

    Every class gets the integer part of its share. The classes with the largest remainders get one more.

    Args:
        labels: The labels of all positions.
        pool: The positions to draw from.
        size: The number of positions to draw.
        rng: The random generator.

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


def _fit_scaling(dataset: Dataset, train: Index) -> Callable[[Array], Array]:
    """Returns a function that scales samples. Its statistics are those of the training part."""
    x = dataset.x
    if not dataset.is_image:
        mean, deviation = x[train].mean(axis=0), x[train].std(axis=0)
        # A constant feature has a deviation of 0. Dividing by 1 instead makes the feature 0.
        deviation = np.where(deviation > 0, deviation, 1)
        return lambda part: ((part - mean) / deviation).astype(np.float32)
    if x.dtype == np.uint8:
        return lambda part: part.astype(np.float32) / 255
    low, high = float(x[train].min()), float(x[train].max())
    if low >= 0 and high <= 1:
        return lambda part: part.astype(np.float32)
    width = (high - low) or 1.0
    return lambda part: ((part - low) / width).astype(np.float32)
