"""The generalized Gaussian prior of weights: Wu et al., BackSlash: Rate Constrained Optimized Training of LLMs.

arXiv 2504.16968, 2025. The negative logarithm of the prior of shape v is sum(|w|**v) up to factors: with v = 2 weight
decay, with v = 1 the lasso, below it draws small weights to 0 harder than large ones.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops.kernels import absolute, at_least_float32


def generalized_gaussian_penalty(weights: Any, shape: float, offset: float = 1.0) -> Any:
    """The penalty sum((|w| + c)**v - c**v), whose gradient is v sign(w) (|w| + c)**(v - 1).

    Without the offset c the gradient is infinite at 0 for shapes below 1; the authors' code has c = 1.

    Args:
        weights: Weights of any shape.
        shape: v, above 0.
        offset: c, above 0, or 0 for shapes of at least 1.

    Returns:
        The penalty, a scalar, 0 for zeros; the gradient at 0 is 0.

    Example:

    ```python
    float(keras_reg.ops.generalized_gaussian_penalty(np.float32([3.0, 0.0]), shape=0.5))  # 1.0
    ```
    """
    size = absolute(at_least_float32(weights))
    if offset == 0.0:
        # The power of 0 has no finite derivative on every backend.
        positive = size > 0
        powers = ops.power(ops.where(positive, size, ops.ones_like(size)), shape)
        return ops.sum(ops.where(positive, powers, ops.zeros_like(size)))
    return ops.sum(ops.power(size + offset, shape) - offset**shape)
