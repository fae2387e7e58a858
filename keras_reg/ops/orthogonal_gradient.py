"""Gradients at right angles to the weights: Prieto et al., Grokking at the Edge of Numerical Stability.

arXiv 2501.04697, 2025, the perpendicular gradient of the section on naive loss minimization.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg.ops._numerics import at_least_float32, square_root

#: Below this share of the gradient, by its type, what is left of it is rounding alone, and is not scaled up.
ROUNDING = {"float16": 1e-3, "bfloat16": 1e-2, "float32": 1e-6, "float64": 1e-6}


def orthogonal_gradient(gradient: Any, weight: Any) -> Any:
    """The part of a gradient at right angles to the weights, as long as the whole gradient.

    With g the gradient and w the weights, both as one vector, it is g - (<w, g> / <w, w>) w, scaled to the length of g:
    a step along it changes the direction of the weights, and to first order not their length.

    Args:
        gradient: The gradient, of any shape.
        weight: The weights, of the same shape.

    Returns:
        The gradient to use. It is `gradient` where all weights are 0, and 0 where `gradient` points along the weights.

    Example:

    ```python
    orthogonal_gradient(np.array([3.0, 4.0]), np.array([0.0, 2.0]))  # [5, 0]
    ```
    """
    gradient = ops.convert_to_tensor(gradient)
    # Largest entries of 1: the squares of very small or very large ones are no float32.
    size, g, w = *_scaled(at_least_float32(gradient)), _scaled(at_least_float32(weight))[1]
    square = ops.sum(w * w)
    zero = square == 0
    rest = g - ops.sum(w * g) / ops.where(zero, ops.ones_like(square), square) * w
    length, length_of_rest = square_root(ops.sum(g * g)), square_root(ops.sum(rest * rest))
    meant = length_of_rest > ROUNDING[keras.backend.standardize_dtype(gradient.dtype)] * length
    factor = ops.where(meant, length / ops.where(meant, length_of_rest, ops.ones_like(length)), ops.zeros_like(length))
    return ops.where(zero, gradient, ops.cast(size * factor * rest, gradient.dtype))


def _scaled(x: Any) -> tuple[Any, Any]:
    """The largest absolute entry, and the tensor divided by it."""
    size = ops.max(ops.abs(x))
    return size, x / ops.where(size > 0, size, ops.ones_like(size))
