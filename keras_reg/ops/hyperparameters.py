"""Transforms between hyperparameters and unconstrained numbers.

References:
    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians
"""

from __future__ import annotations

import math

from keras import ops

from keras_reg._types import Tensor


def bounded(free: Tensor, low: float | None = None, high: float | None = None, log: bool = False) -> Tensor:
    """Maps unconstrained numbers to values in a range, by an increasing function that is differentiable everywhere.

    - With both bounds, the value is `low + (high - low) * sigmoid(free)`.
    - With one bound, it is that bound and a softplus.
    - Without bounds, it is the number itself.
    - With `log`, it is the exponential of such a value between the logarithms of the bounds. Without an upper bound it
      is `low + exp(free)`.

    Args:
        free: Tensor. Any numbers.
        low: Float. The lower bound. Defaults to `None`, which means no bound.
        high: Float. The upper bound. Defaults to `None`, which means no bound.
        log: Boolean. Whether equal steps of the unconstrained number multiply the value by equal factors. Defaults to
            `False`.

    Returns:
        Numbers between the bounds.

    Example:

    ```python
    free = np.float32([-100.0, 0.0, 100.0])
    bounded(free, low=0.0, high=0.9)  # 0, 0.45, 0.9
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
    """Computes the unconstrained number that `bounded` maps to a value.

    Args:
        value: Float. The value, inside the bounds.
        low: Float. The lower bound, as in `bounded`. Defaults to `None`.
        high: Float. The upper bound, as in `bounded`. Defaults to `None`.
        log: Boolean. Whether the scale is logarithmic, as in `bounded`. Defaults to `False`.

    Returns:
        The unconstrained number. Python computes it, so it is exact to float64.

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


def perturbation_entropy(scales: Tensor) -> Tensor:
    """Computes the entropy of independent normal numbers, the sum of log(scale * sqrt(2 pi e)).

    Args:
        scales: Tensor. The standard deviations of the numbers, above 0.

    Returns:
        The entropy, a scalar.

    Example:

    ```python
    perturbation_entropy(np.float32([1.0]))  # 1.419
    ```
    """
    scales = ops.convert_to_tensor(scales)
    return ops.sum(ops.log(scales)) + 0.5 * math.log(2 * math.pi * math.e) * float(math.prod(scales.shape))


def _inverse_softplus(value: float) -> float:
    # log(exp(value) - 1) would overflow for large values.
    return value + math.log(-math.expm1(-value))
