"""The log-density of the Beta distribution, in operations that every backend has.

`keras.ops` has no log-gamma function. Stirling's series computes it for large arguments, and the recurrence
Gamma(z + 1) = z Gamma(z) raises smaller arguments until they are large. The formulas omit terms of the log-density that
cancel.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_reg._types import Tensor

# The coefficients B_2k / (2k (2k - 1)) of Stirling's series for log Gamma. For z of 8 and more, the error after these
# six terms is below 2e-15.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_RAISED = 8


def beta_log_prob(x: Tensor, alpha: Tensor, beta: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Computes the logarithm of the Beta density, (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta).

    It is differentiable with respect to the concentrations and x, and XLA compiles it.

    Args:
        x: Tensor. Numbers from 0 to 1, of any shape that broadcasts with the concentrations.
        alpha: Tensor. Positive concentrations.
        beta: Tensor. Positive concentrations.
        epsilon: Float. The smallest distance of `x` from 0 and 1, where the density may be infinite. Numbers that are
            closer are clipped. The value 0 disables clipping. Defaults to `1e-6`.

    Returns:
        The log-density. It is float64 if an argument is float64, and float32 otherwise, since 16-bit floats cannot
        hold it.

    Example:

    ```python
    half, two = np.array([0.5]), np.array([2.0])
    beta_log_prob(half, two, two)  # [log(1.5)]
    ```

    Reference:
        - [Yavuz and Yang, 2024](https://arxiv.org/abs/2406.14568): Policy Gradient-Driven Noise Mask (the clipping)
    """
    x, alpha, beta = (ops.convert_to_tensor(value) for value in (x, alpha, beta))
    wide = any(keras.backend.standardize_dtype(value.dtype) == "float64" for value in (x, alpha, beta))
    x, alpha, beta = (ops.cast(value, "float64" if wide else "float32") for value in (x, alpha, beta))
    if epsilon:
        x = ops.clip(x, epsilon, 1 - epsilon)
    return (alpha - 1) * ops.log(x) + (beta - 1) * ops.log1p(-x) - _log_beta(alpha, beta)


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    """Computes log B(alpha, beta) without differences of large log-gamma values."""
    if keras.backend.backend() == "tensorflow":
        # One sum over an axis avoids a long chain of additions. Grappler adds the terms of such a chain, or of its
        # gradient, in a different order each time it traces.
        rank = max(len(alpha.shape), len(beta.shape))
        i = ops.reshape(ops.arange(_RAISED, dtype=alpha.dtype), (_RAISED,) + (1,) * rank)
        raised = ops.sum(_log_ratio(alpha, beta, i), axis=0)
    else:  # The other compilers fuse a chain of additions.
        raised = sum(_log_ratio(alpha, beta, i) for i in range(_RAISED))
    a, b = alpha + _RAISED, beta + _RAISED
    total = a + b
    stirling = _stirling(a) + _stirling(b) - _stirling(total)
    powers = (a - 0.5) * _log_share(a, b) + b * _log_share(b, a)
    return powers - 0.5 * ops.log(b) + 0.5 * math.log(2 * math.pi) + stirling + raised


def _log_ratio(alpha: Tensor, beta: Tensor, i: Tensor | int) -> Tensor:
    """Computes log B(alpha + i, beta + i) - log B(alpha + i + 1, beta + i + 1)."""
    # The ratios are about 1, so neither they nor their logarithms lose digits for large concentrations.
    total = alpha + beta + 2 * i
    return ops.log(total / (alpha + i) * ((total + 1) / (beta + i)))


def _log_share(part: Tensor, other: Tensor) -> Tensor:
    """Computes log(part / (part + other)), which is exact even if the other part is small."""
    return -ops.log1p(other / part)


def _stirling(z: Tensor) -> Tensor:
    return _polynomial(_STIRLING, 1 / (z * z)) / z


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    result = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
