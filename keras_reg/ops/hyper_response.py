"""Weights as functions of hyperparameters.

References:
    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks: Bilevel Optimization of
      Hyperparameters using Structured Best-Response Functions
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians
"""

from __future__ import annotations

import math

from keras import ops

from keras_reg._types import Tensor, TensorFunction


def free_numbers(value: Tensor, low: float | None = None, high: float | None = None, log: bool = False) -> Tensor:
    """Computes the unconstrained numbers that `bounded` maps to values.

    This is `unbounded` for tensors, where `unbounded` is for one Python number.

    Args:
        value: Tensor. Values inside the bounds. A value at a bound is moved slightly inside, so that its unconstrained
            number is finite.
        low: Float. The lower bound, as in `bounded`. Defaults to `None`.
        high: Float. The upper bound, as in `bounded`. Defaults to `None`.
        log: Boolean. Whether the scale is logarithmic, as in `bounded`. Defaults to `False`.

    Returns:
        A tensor of the values' shape. Gradients flow through it.

    Example:

    ```python
    free_numbers(np.float32([0.0, 0.45]), low=0.0, high=0.9)  # -13.8, 0
    ```
    """
    value = _move_inside(ops.convert_to_tensor(value), low, high)
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


def hyper_weight(general: Tensor, response: Tensor, factors: Tensor, scalar: Tensor | float | None = None) -> Tensor:
    """Computes a weight that responds to hyperparameters: scalar * general + factors * response.

    Args:
        general: Tensor. The weight without hyperparameters. Its last axis is that of the units.
        response: Tensor. The part that is added in proportion to the factors, of the same shape.
        factors: Tensor. One factor for each unit, shape (units,): the product of the hyperparameters with a trained
            matrix.
        scalar: Float or tensor. The factor of `general`. Defaults to `None`, which means 1.

    Returns:
        A tensor of the weight's shape.

    Example:

    ```python
    ones, factors = np.ones((3, 2)), np.array([0.5, -1.0])
    hyper_weight(ones, ones, factors)  # columns of 1.5 and 0
    ```
    """
    general, response, factors = (ops.convert_to_tensor(part) for part in (general, response, factors))
    return (general if scalar is None else scalar * general) + factors * response


def hyper_linear(
    linear: TensorFunction,
    general: Tensor,
    response: Tensor,
    factors: Tensor,
    scalar: Tensor | float | None = None,
) -> Tensor:
    """Applies a linear map of a weight that responds to hyperparameters, which may differ for each sample.

    No sample needs its own weight, because the factors multiply the result of the map for the response.

    Args:
        linear: Callable. A function that is linear in its argument, such as
            `lambda kernel: keras.ops.matmul(x, kernel)`. The units are on the last axis of the result, as in the
            weight.
        general: Tensor. The weight without hyperparameters, as in `hyper_weight`.
        response: Tensor. The part in proportion to the factors, as in `hyper_weight`.
        factors: Tensor. The factors, shape (units,), or (batch, units) for separate factors per sample.
        scalar: Float or tensor. The factor of `general`. Defaults to `None`, which means 1.

    Returns:
        The result of `linear` for the weight of each sample.

    Example:

    ```python
    x, kernel, response = np.ones((5, 3)), np.ones((3, 2)), np.ones((3, 2))
    # For example hyperparameters (5, 4) times a matrix (4, 2).
    factors = np.ones((5, 2))


    def apply(weight):
        return keras.ops.matmul(x, weight)


    hyper_linear(apply, kernel, response, factors)  # all 6
    ```
    """
    factors = ops.convert_to_tensor(factors)
    if len(factors.shape) == 1:
        return linear(hyper_weight(general, response, factors, scalar))
    general = linear(general)
    return hyper_weight(general, linear(response), along_samples(factors, len(general.shape)), scalar)


def hyper_squares(general: Tensor, response: Tensor, factors: Tensor, scalar: Tensor | float | None = None) -> Tensor:
    """Computes the exact sum of squares, for each sample, of a weight that responds to hyperparameters.

    The sum is a polynomial in the factors, so no sample needs its own weight.

    Args:
        general: Tensor. The weight without hyperparameters, as in `hyper_weight`.
        response: Tensor. The part in proportion to the factors, as in `hyper_weight`.
        factors: Tensor. The factors, shape (units,) or (batch, units).
        scalar: Float or tensor. The factor of `general`. Defaults to `None`, which means 1.

    Returns:
        The sums, shape () or (batch,).

    Example:

    ```python
    ones, factors = np.ones((3, 2)), np.array([[0.0, 0.0], [1.0, 1.0]])
    hyper_squares(ones, ones, factors)  # 6 and 24
    ```
    """
    general, response, factors = (ops.convert_to_tensor(part) for part in (general, response, factors))
    general = general if scalar is None else scalar * general
    axes = tuple(range(len(general.shape) - 1))
    constant, linear, quadratic = (
        ops.sum(product, axes) for product in (general * general, 2 * general * response, response * response)
    )
    return ops.sum(constant + factors * (linear + factors * quadratic), -1)


def along_samples(values: Tensor, rank: int) -> Tensor:
    """Reshapes values of units, or of samples and units, so that they broadcast with outputs of a rank.

    Args:
        values: Tensor. Values of shape (units,) or (batch, units).
        rank: Integer. The number of axes of the outputs. The first axis is that of the samples, the last that of the
            units.

    Returns:
        The values, shape (units,) or (batch, 1, ..., units).

    Example:

    ```python
    along_samples(np.ones((5, 2)), 4).shape  # (5, 1, 1, 2)
    ```
    """
    values = ops.convert_to_tensor(values)
    if len(values.shape) == 1:
        return values
    return ops.reshape(values, (-1, *[1] * (rank - 2), values.shape[-1]))


def _move_inside(value: Tensor, low: float | None, high: float | None) -> Tensor:
    """Moves values away from the bounds, as far as `tune.Float.to_unconstrained` does."""
    span: Tensor = ops.maximum(ops.abs(value), 1.0) if low is None or high is None else high - low
    if low is not None:
        value = ops.maximum(value, low + 1e-6 * span)
    if high is not None:
        value = ops.minimum(value, high - 1e-6 * span)
    return value


def _inverse_softplus(value: Tensor) -> Tensor:
    # log(exp(value) - 1) would overflow for large values.
    return value + ops.log(-ops.expm1(-value))
