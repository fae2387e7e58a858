"""Weights that are drawn to given values, with an importance for each or without.

Li et al., Explicit Inductive Bias for Transfer Learning with Convolutional Networks (arXiv 1802.01483, 2018), and
Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks (arXiv 1612.00796, 2016).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import at_least_float32


def anchored_penalty(weights: Any, anchor: Any, importance: Any = None) -> Any:
    """Half the squared distance to the anchor, 1/2 sum(F (w - a)**2), whose gradient is F (w - a).

    Args:
        weights: w, of any shape.
        anchor: a, of the same shape: where the weights are drawn to.
        importance: F, of the same shape, at least 0: how strongly each weight is; `None` for 1.

    Returns:
        The penalty, a scalar.

    Example:

    ```python
    float(anchored_penalty(np.float32([3.0, 1.0]), np.float32([1.0, 1.0])))  # 2.0
    ```
    """
    weights = at_least_float32(weights)
    squares = ops.square(weights - ops.cast(anchor, weights.dtype))
    if importance is not None:
        squares = ops.cast(importance, weights.dtype) * squares
    return 0.5 * ops.sum(squares)
