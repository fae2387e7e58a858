"""The log-density of the Beta distribution, in operations that every backend has.

`keras.ops` has no log-gamma function. Stirling's series gives it where the argument is large; to get there, arguments
are raised by the recurrence Gamma(z + 1) = z Gamma(z). What cancels in the log-density is cancelled on paper.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

# B_2k / (2k (2k - 1)) of Stirling's series for log Gamma. After these six terms the error from z = 8 on is below 2e-15.
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
_RAISED = 8


def beta_log_prob(x: Any, alpha: Any, beta: Any, epsilon: float = 1e-6) -> Any:
    """The logarithm of the Beta density, (alpha - 1) log x + (beta - 1) log(1 - x) - log B(alpha, beta).

    It is differentiable by the concentrations and by x, and compiles under XLA.

    Args:
        x: Numbers from 0 to 1, of any shape that broadcasts with the concentrations.
        alpha: Positive concentrations.
        beta: Positive concentrations.
        epsilon: Numbers are kept this far from 0 and 1, where the density may be infinite. 0 for no clip.

    Returns:
        The log-density, in float32 or, if one of the arguments is float64, in float64: 16-bit floats are converted,
        since they cannot hold it.

    Example:

    ```python
    beta_log_prob(np.array([0.5]), np.array([2.0]), np.array([2.0]))  # [log(1.5)]
    ```

    Source: the clip is that of Mehmet Can Yavuz, Yang Yang, Policy Gradient-Driven Noise Mask, arXiv 2406.14568, 2024.
    """
    x, alpha, beta = (ops.convert_to_tensor(value) for value in (x, alpha, beta))
    wide = any(keras.backend.standardize_dtype(value.dtype) == "float64" for value in (x, alpha, beta))
    x, alpha, beta = (ops.cast(value, "float64" if wide else "float32") for value in (x, alpha, beta))
    if epsilon:
        x = ops.clip(x, epsilon, 1 - epsilon)
    return (alpha - 1) * ops.log(x) + (beta - 1) * ops.log1p(-x) - _log_beta(alpha, beta)


def _log_beta(alpha: Any, beta: Any) -> Any:
    """Log B(alpha, beta), without the difference of large log-gamma functions."""
    if keras.backend.backend() == "tensorflow":
        # All at once, not one after another: Grappler adds the members of a long chain of additions, such as the
        # gradient of one, in another order each time it traces.
        rank = max(len(alpha.shape), len(beta.shape))
        i = ops.reshape(ops.arange(_RAISED, dtype=alpha.dtype), (_RAISED,) + (1,) * rank)
        raised = ops.sum(_log_ratio(alpha, beta, i), axis=0)
    else:  # one by one, which compilers fuse
        raised = sum(_log_ratio(alpha, beta, i) for i in range(_RAISED))
    a, b = alpha + _RAISED, beta + _RAISED
    total = a + b
    stirling = _stirling(a) + _stirling(b) - _stirling(total)
    powers = (a - 0.5) * _log_share(a, b) + b * _log_share(b, a)
    return powers - 0.5 * ops.log(b) + 0.5 * math.log(2 * math.pi) + stirling + raised


def _log_ratio(alpha: Any, beta: Any, i: Any) -> Any:
    """Log B(alpha + i, beta + i) - log B(alpha + i + 1, beta + i + 1)."""
    # Ratios of about 1: neither they nor their logarithms lose digits for large concentrations.
    total = alpha + beta + 2 * i
    return ops.log(total / (alpha + i) * ((total + 1) / (beta + i)))


def _log_share(part: Any, other: Any) -> Any:
    """log(part / (part + other)), exact too where the other is small."""
    return -ops.log1p(other / part)


def _stirling(z: Any) -> Any:
    return _polynomial(_STIRLING, 1 / (z * z)) / z


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    result = coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        result = result * x + coefficient
    return result
