"""Gamma and Beta variates in operations that XLA compiles on every backend, with pathwise gradients.

A variate of concentration alpha is one of alpha + 1, drawn by the method of Marsaglia and Tsang, times U^(1 / alpha),
all as logarithms: tiny concentrations do not underflow before the end. The rejection has a fixed number of rounds
instead of a loop whose length depends on the data. A proposal is accepted with a probability of at least 0.951, and the
last one is taken as it is, so that the distribution is within 0.049^5 = 3e-7 of the exact one in total variation in the
worst case, alpha near 0, and within 2e-9 from alpha = 1 on. That is about what float32 uniform numbers of 2^-23 steps
allow.

Source: George Marsaglia, Wai Wan Tsang, A Simple Method for Generating Gamma Variables, ACM Transactions on
Mathematical Software 26 (3), 2000; gradients as in `implicit_gamma.py`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.random._implicit_gamma import log_gamma_slope
from keras_reg.random._uniform import open_uniform

_ROUNDS = 5


def gamma(shape: Any, alpha: Any, dtype: str | None = None, seed: Any = None) -> Any:
    """Draws from the Gamma distribution of scale 1.

    The same as `keras.random.gamma`, and differentiable by `alpha` on every backend, compiled by XLA on TensorFlow too.
    Replicas of `tf.distribute` draw different numbers.

    Args:
        shape: The shape of the result, integers or scalar tensors.
        alpha: Positive concentrations, which broadcast to the shape.
        dtype: The type of the result, Keras's float type by default. All is computed in float32, where variates of
            tiny concentrations may underflow to 0: see `log_gamma`.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A tensor of the shape. Where a tensor of concentrations is not positive, NaN.

    Raises:
        ValueError: If `alpha` is a number or array that is not positive and finite.

    Example:

    ```python
    keras_reg.random.gamma((2, 3), alpha=0.5, seed=1)
    ```
    """
    drawn = ops.exp(log_gamma(shape, alpha, seed))
    return ops.cast(drawn, dtype or keras.config.floatx())


def beta(shape: Any, alpha: Any, beta: Any, dtype: str | None = None, seed: Any = None) -> Any:
    """Draws from the Beta distribution.

    The same as `keras.random.beta`, and differentiable by both concentrations on every backend, compiled by XLA on
    TensorFlow too. Replicas of `tf.distribute` draw different numbers.

    Args:
        shape: The shape of the result, integers or scalar tensors.
        alpha: Positive concentrations, which broadcast to the shape.
        beta: Positive concentrations, which broadcast to the shape.
        dtype: The type of the result, Keras's float type by default. All is computed in float32, where numbers within
            3e-8 of 1 round to 1, and those below 1e-38 to 0.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A tensor of the shape, from 0 to 1. Where a tensor of concentrations is not positive, NaN.

    Raises:
        ValueError: If a concentration is a number or array that is not positive and finite.

    Example:

    ```python
    keras_reg.random.beta((2, 3), alpha=0.5, beta=2.0, seed=1)
    ```
    """
    drawn = ops.sigmoid(logit_beta(shape, alpha, beta, seed))
    return ops.cast(drawn, dtype or keras.config.floatx())


def logit_beta(shape: Any, alpha: Any, beta: Any, seed: Any = None) -> Any:
    """Draws log(x / (1 - x)) for x of the Beta distribution: exact where x itself rounds to 0 or 1.

    Args:
        shape: The shape of the result, integers or scalar tensors.
        alpha: Positive concentrations, which broadcast to the shape.
        beta: Positive concentrations, which broadcast to the shape.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A float32 tensor of the shape.

    Raises:
        ValueError: If a concentration is a number or array that is not positive and finite.

    Example:

    ```python
    keras_reg.random.logit_beta((2, 3), alpha=0.01, beta=0.01, seed=1)
    ```
    """
    pair = [ops.broadcast_to(_concentration(name, value), shape) for name, value in (("alpha", alpha), ("beta", beta))]
    both = log_gamma((2, *shape), ops.stack(pair), seed)
    return both[0] - both[1]


def log_gamma(shape: Any, alpha: Any, seed: Any = None) -> Any:
    """Draws the logarithm of Gamma variates, which does not underflow.

    Args:
        shape: The shape of the result, integers or scalar tensors.
        alpha: Positive concentrations, which broadcast to the shape.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A float32 tensor of the shape. Its gradient by `alpha` is a pathwise one.

    Raises:
        ValueError: If `alpha` is a number or array that is not positive and finite.

    Example:

    ```python
    keras_reg.random.log_gamma((2, 3), alpha=0.001, seed=1)
    ```
    """
    alpha = ops.broadcast_to(_concentration("alpha", alpha), shape)
    # All numbers in one draw: with an integer as seed, two draws would be the same numbers.
    uniform = open_uniform((2 * _ROUNDS, *shape), seed)
    raised = alpha + 1
    log_x = _marsaglia_tsang(ops.stop_gradient(raised), uniform[:_ROUNDS], uniform[_ROUNDS:-1])
    return _follow(raised, log_x) + ops.log(uniform[-1]) / alpha


def _marsaglia_tsang(alpha: Any, proposals: Any, thresholds: Any) -> Any:
    """The logarithm of the first accepted proposal for concentrations from 1 on, of the last one if there is none."""
    d = alpha - 1 / 3
    c = 1 / ops.sqrt(9 * d)
    normal = math.sqrt(2) * ops.erfinv(2 * proposals - 1)
    z = ops.maximum(c * normal, -0.999)  # x = d (1 + z)^3 must be positive
    log_v = 3 * ops.log1p(z)
    surplus = 0.5 * normal * normal + d * (log_v - z * (3 + z * (3 + z)))
    accepted = ops.logical_and(ops.log(thresholds) < surplus[:-1], c * normal[:-1] > -0.999)
    result = log_v[-1]
    for round_ in range(_ROUNDS - 2, -1, -1):
        result = ops.where(accepted[round_], log_v[round_], result)
    return ops.log(d) + result


def _follow(alpha: Any, log_x: Any) -> Any:
    """The logarithms of variates, as a function of their concentrations: the derivative is taken at their quantile."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def variate(alpha: Any) -> Any:
        def backward(*arguments: Any, upstream: Any = None) -> Any:
            upstream = arguments[0] if upstream is None else upstream  # by name on PyTorch alone
            return upstream * log_gamma_slope(alpha, log_x)

        return log_x + ops.zeros_like(alpha), backward

    return variate(alpha)


def _concentration(name: str, value: Any) -> Any:
    """A concentration as a float32 tensor: checked now if it is known now, and otherwise NaN where it is wrong."""
    if isinstance(value, (int, float, list, tuple, np.ndarray, np.generic)):
        array = np.asarray(value, "float64")
        if not (np.isfinite(array).all() and (array > 0).all()):
            raise ValueError(f"Concentrations must be positive and finite. Received: {name}={value!r}")
    value = ops.cast(ops.convert_to_tensor(value), "float32")
    return ops.where(value > 0, value, float("nan"))
