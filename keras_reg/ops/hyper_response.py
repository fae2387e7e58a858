"""Weights as functions of hyperparameters, as in Self-Tuning Networks (arXiv 1903.03088) and Delta-STN (2010.13514)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops


def free_numbers(value: Any, low: float | None = None, high: float | None = None, log: bool = False) -> Any:
    """The free numbers that `bounded` makes values of, as tensors: what `unbounded` is for one Python number.

    Args:
        value: Values inside the bounds. Those at a bound count as ones next to it, whose free numbers are finite.
        low: As in `bounded`.
        high: As in `bounded`.
        log: As in `bounded`.

    Returns:
        A tensor of the values' shape. Gradients flow through it.

    Example:

    ```python
    free_numbers(np.float32([0.0, 0.45]), low=0.0, high=0.9)  # -13.8, 0
    ```
    """
    value = _inside(ops.convert_to_tensor(value), low, high)
    if log:
        if high is None:
            return ops.log(value - (low or 0.0))
        return free_numbers(ops.log(value), None if not low else math.log(low), math.log(high))
    if low is not None and high is not None:
        share = (value - low) / (high - low)
        return ops.log(share) - ops.log1p(-share)
    if low is not None:
        return _inverse_softplus(value - low)
    if high is not None:
        return high - _inverse_softplus(high - value)
    return value


def hyper_weight(general: Any, response: Any, factors: Any, scalar: Any = None) -> Any:
    """A weight that responds to hyperparameters: scalar * general + factors * response.

    Args:
        general: The weight without them, whose last axis is that of the units.
        response: Of its shape: what is added in proportion to the factors.
        factors: One for each unit, shape (units,): the product of the hyperparameters with a trained matrix.
        scalar: A number, or `None` for 1.

    Returns:
        A tensor of the weight's shape.

    Example:

    ```python
    hyper_weight(np.ones((3, 2)), np.ones((3, 2)), np.array([0.5, -1.0]))  # columns of 1.5 and 0
    ```
    """
    general, response, factors = (ops.convert_to_tensor(part) for part in (general, response, factors))
    return (general if scalar is None else scalar * general) + factors * response


def hyper_linear(linear: Callable[[Any], Any], general: Any, response: Any, factors: Any, scalar: Any = None) -> Any:
    """A linear map of a weight that responds to hyperparameters, which may be others for each sample.

    No sample needs a weight of its own: the map of the response is multiplied by the factors.

    Args:
        linear: Linear in its argument, such as `lambda kernel: keras.ops.matmul(x, kernel)`. The units are the last
            axis of what it gives, as of the weight.
        general: As in `hyper_weight`.
        response: As in `hyper_weight`.
        factors: Shape (units,) or, for each sample, (batch, units).
        scalar: As in `hyper_weight`.

    Returns:
        What `linear` gives for the weight of each sample.

    Example:

    ```python
    x, kernel, response = np.ones((5, 3)), np.ones((3, 2)), np.ones((3, 2))
    factors = np.ones((5, 2))  # for example of hyperparameters (5, 4) and a matrix (4, 2)
    hyper_linear(lambda weight: keras.ops.matmul(x, weight), kernel, response, factors)  # all 6
    ```
    """
    factors = ops.convert_to_tensor(factors)
    if len(factors.shape) == 1:
        return linear(hyper_weight(general, response, factors, scalar))
    general = linear(general)
    return hyper_weight(general, linear(response), along_samples(factors, len(general.shape)), scalar)


def hyper_squares(general: Any, response: Any, factors: Any, scalar: Any = None) -> Any:
    """The sum of squares of a weight that responds to hyperparameters, for each sample, exactly.

    As a polynomial in the factors, so that no sample needs a weight of its own.

    Args:
        general: As in `hyper_weight`.
        response: As in `hyper_weight`.
        factors: Shape (units,) or (batch, units).
        scalar: As in `hyper_weight`.

    Returns:
        Shape () or (batch,).

    Example:

    ```python
    hyper_squares(np.ones((3, 2)), np.ones((3, 2)), np.array([[0.0, 0.0], [1.0, 1.0]]))  # 6 and 24
    ```
    """
    general, response, factors = (ops.convert_to_tensor(part) for part in (general, response, factors))
    general = general if scalar is None else scalar * general
    axes = tuple(range(len(general.shape) - 1))
    alone, mixed, added = (
        ops.sum(product, axes) for product in (general * general, 2 * general * response, response * response)
    )
    return ops.sum(alone + factors * (mixed + factors * added), -1)


def along_samples(values: Any, rank: int) -> Any:
    """Values of units, or of samples and units, in a shape that broadcasts with outputs of a rank.

    Args:
        values: Shape (units,) or (batch, units).
        rank: How many axes the outputs have: the first is that of the samples, the last that of the units.

    Returns:
        Shape (units,) or (batch, 1, ..., units).

    Example:

    ```python
    along_samples(np.ones((5, 2)), 4).shape  # (5, 1, 1, 2)
    ```
    """
    values = ops.convert_to_tensor(values)
    if len(values.shape) == 1:
        return values
    return ops.reshape(values, (-1, *[1] * (rank - 2), values.shape[-1]))


def _inside(value: Any, low: float | None, high: float | None) -> Any:
    """Values that are not at a bound; as far from it as `tune.Hyperparameter.to_unconstrained` puts them."""
    span: Any = ops.maximum(ops.abs(value), 1.0) if low is None or high is None else high - low
    if low is not None:
        value = ops.maximum(value, low + 1e-6 * span)
    if high is not None:
        value = ops.minimum(value, high - 1e-6 * span)
    return value


def _inverse_softplus(value: Any) -> Any:
    # Not log(exp(value) - 1), which overflows for large values.
    return value + ops.log(-ops.expm1(-value))
