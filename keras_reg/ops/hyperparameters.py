"""Hyperparameters as free numbers, as in Self-Tuning Networks (arXiv 1903.03088) and Delta-STN (2010.13514)."""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def bounded(free: Any, low: float | None = None, high: float | None = None, log: bool = False) -> Any:
    """The value in a range of a free number: increasing, and differentiable everywhere.

    With both bounds it is `low + (high - low) * sigmoid(free)`, with one of them that bound and a softplus, without any
    the number itself. With `log` it is the exponential of that, between the logarithms of the bounds: `low + exp(free)`
    where there is no upper bound.

    Args:
        free: Any numbers.
        low: The lower bound, or `None`.
        high: The upper bound, or `None`.
        log: Whether equal steps of the free number are equal factors of the value.

    Returns:
        Numbers between the bounds.

    Example:

    ```python
    bounded(np.float32([-100.0, 0.0, 100.0]), low=0.0, high=0.9)  # 0, 0.45, 0.9
    ```
    """
    free = ops.convert_to_tensor(free)
    if log:
        if high is None:
            return (low or 0.0) + ops.exp(free)
        return ops.exp(bounded(free, None if not low else math.log(low), math.log(high)))
    if low is not None and high is not None:
        return low + (high - low) * ops.sigmoid(free)
    if low is not None:
        return low + ops.softplus(free)
    if high is not None:
        return high - ops.softplus(high - free)
    return free


def unbounded(value: float, low: float | None = None, high: float | None = None, log: bool = False) -> float:
    """The free number that `bounded` makes a value of.

    Args:
        value: The value, inside the bounds.
        low: As in `bounded`.
        high: As in `bounded`.
        log: As in `bounded`.

    Returns:
        The number, by Python, so that it is exact to float64.

    Example:

    ```python
    unbounded(0.45, low=0.0, high=0.9)  # 0.0
    ```
    """
    if log:
        if high is None:
            return math.log(value - (low or 0.0))
        return unbounded(math.log(value), None if not low else math.log(low), math.log(high))
    if low is not None and high is not None:
        share = (value - low) / (high - low)
        return math.log(share) - math.log1p(-share)
    if low is not None:
        return _inverse_softplus(value - low)
    if high is not None:
        return high - _inverse_softplus(high - value)
    return float(value)


def perturbation_entropy(scales: Any) -> Any:
    """The entropy of independent normal numbers with these standard deviations: sum of log(scale * sqrt(2 pi e)).

    Args:
        scales: Standard deviations, above 0.

    Returns:
        A scalar.

    Example:

    ```python
    perturbation_entropy(np.float32([1.0]))  # 1.419
    ```
    """
    scales = ops.convert_to_tensor(scales)
    return ops.sum(ops.log(scales)) + 0.5 * math.log(2 * math.pi * math.e) * float(math.prod(scales.shape))


def _inverse_softplus(value: float) -> float:
    # Not log(exp(value) - 1), which overflows for large values.
    return value + math.log(-math.expm1(-value))
