"""Gradients orthogonal to the weights.

Reference:
    - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability (the
      perpendicular gradient of the section on naive loss minimization)
"""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32, square_root

#: If less than this share of the gradient remains, by data type, the remainder is only rounding and is not scaled up.
ROUNDING = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-6}


def orthogonal_gradient(gradient: Tensor, weight: Tensor) -> Tensor:
    """Projects a gradient to the directions orthogonal to the weights, and scales it to the length of the gradient.

    Let g be the gradient and w the weights, both as one vector. The result is g - (<w, g> / <w, w>) w, scaled to the
    length of g. A step along it changes the direction of the weights. To first order, it does not change their length.

    Args:
        gradient: Tensor. The gradient, of any shape.
        weight: Tensor. The weights, of the same shape.

    Returns:
        The projected gradient. It is `gradient` if all weights are 0, and 0 if `gradient` points along the weights.

    Example:

    ```python
    gradient, weight = np.array([3.0, 4.0]), np.array([0.0, 2.0])
    orthogonal_gradient(gradient, weight)  # [5, 0]
    ```
    """
    gradient = ops.convert_to_tensor(gradient)
    # Both are divided by their largest entry, because squares of very small or very large entries underflow or overflow
    # in float32.
    size, g, w = *_divide_by_largest(at_least_float32(gradient)), _divide_by_largest(at_least_float32(weight))[1]
    square = ops.sum(w * w)
    zero = square == 0
    rest = g - ops.sum(w * g) / ops.where(zero, ops.ones_like(square), square) * w
    length, length_of_rest = square_root(ops.sum(g * g)), square_root(ops.sum(rest * rest))
    significant = length_of_rest > ROUNDING[keras.backend.standardize_dtype(gradient.dtype)] * length
    factor = ops.where(
        significant, length / ops.where(significant, length_of_rest, ops.ones_like(length)), ops.zeros_like(length)
    )
    return ops.where(zero, gradient, ops.cast(size * factor * rest, gradient.dtype))


def _divide_by_largest(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the largest absolute entry, and the tensor divided by it."""
    size = ops.max(ops.abs(x))
    return size, x / ops.where(size > 0, size, ops.ones_like(size))
