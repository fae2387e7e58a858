"""Penalties that pull weights to an anchor, with or without an importance for each weight.

References:
    - [Li et al., 2018](https://arxiv.org/abs/1802.01483): Explicit Inductive Bias for Transfer Learning with
      Convolutional Networks
    - [Kirkpatrick et al., 2016](https://arxiv.org/abs/1612.00796): Overcoming catastrophic forgetting in neural
      networks
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32


def anchored_penalty(weights: Tensor, anchor: Tensor, importance: Tensor | None = None) -> Tensor:
    """Computes half the squared distance of weights to an anchor, 1/2 sum(F (w - a)**2).

    The gradient with respect to the weights is F (w - a).

    Args:
        weights: Tensor. The weights w, of any shape.
        anchor: Tensor. The values a to which the weights are pulled, of the same shape.
        importance: Tensor. The factor F of each weight, at least 0, of the same shape. Defaults to `None`, which
            means 1 for all weights.

    Returns:
        The penalty, a scalar.

    Example:

    ```python
    weights, anchor = np.float32([3.0, 1.0]), np.float32([1.0, 1.0])
    float(anchored_penalty(weights, anchor))  # 2.0
    ```
    """
    weights = at_least_float32(weights)
    squares = ops.square(weights - ops.cast(anchor, weights.dtype))
    if importance is not None:
        squares = ops.cast(importance, weights.dtype) * squares
    return 0.5 * ops.sum(squares)
