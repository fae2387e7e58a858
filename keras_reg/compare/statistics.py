"""Means over seeds, with 95 % confidence intervals."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_reg.compare import extras


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Holds a mean over seeds.

    Attributes:
        mean: The mean.
        half_width: Half the width of the 95 % t-interval, or `None` for one seed.
        values: The figure of each seed.
    """

    mean: float
    half_width: float | None
    values: tuple[float, ...]


def estimate(values: Sequence[float]) -> Estimate:
    """Computes the mean of a few values, with Student's 95 % confidence interval.

    Args:
        values: One figure per seed, at least one.

    Returns:
        The estimate.
    """
    array = np.asarray(values, dtype=np.float64)
    half_width = None
    if len(array) > 1:
        quantile = float(extras.load("scipy.stats").t.ppf(0.975, len(array) - 1))
        half_width = float(quantile * array.std(ddof=1) / math.sqrt(len(array)))
    return Estimate(float(array.mean()), half_width, tuple(float(value) for value in array))


def estimate_difference(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Computes the mean difference from a baseline that has the same seeds in the same order."""
    return estimate([value - base for value, base in zip(values, baseline, strict=True)])
