"""Weight normalization.

A weight vector is its length g times the direction of v: w = g v / |v| (equation 2).

Reference:
    - [Salimans and Kingma, 2016](https://arxiv.org/abs/1602.07868): Weight Normalization: A Simple Reparameterization
      to Accelerate Training of Deep Neural Networks
"""

from __future__ import annotations

from keras import ops

from keras_reg._keras.compilation import chained_sum, compile_with_xla, is_worth_compiling
from keras_reg._types import Shape, Tensor

# Squared lengths are clipped to at least this number, so that a vector of zeros has a direction and a gradient.
SMALLEST_SQUARE = 1e-12
# This number is added to the variance of the outputs from which weights are initialized.
VARIANCE_EPSILON = 1e-10


def normalize_weight(parameter: Tensor, length: Tensor, input_axes: tuple[int, ...]) -> Tensor:
    """Computes weight vectors of given lengths: length * parameter / |parameter|.

    Args:
        parameter: Tensor. The directions v, of any shape.
        length: Tensor. The lengths g, of the shape of `weight_length`, or of a shape that broadcasts to it.
        input_axes: Tuple of integers. The axes of one weight vector. For a dense kernel, all axes but the last.

    Returns:
        The weights, of the shape of the parameter.

    Raises:
        ValueError: If the parameter does not have these axes, or the lengths have a different shape.

    Example:

    ```python
    directions, length = np.array([[3.0], [4.0]]), np.array([[10.0]])
    normalize_weight(directions, length, input_axes=(0,))  # [[6], [8]]
    ```
    """
    parameter = ops.convert_to_tensor(parameter)
    length = ops.convert_to_tensor(length, parameter.dtype)
    axes = _normalize_axes(parameter, input_axes)
    _check_length(length, tuple(1 if axis in axes else size for axis, size in enumerate(parameter.shape)))
    if not is_worth_compiling(parameter):
        return _compute_weight(parameter, length, axes)[0]

    # TensorFlow's graphs read all weights once per operation. With XLA, the forward and backward pass take half the
    # time.
    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def normalized(parameter: Tensor, length: Tensor) -> Tensor:
        weight, square = compile_with_xla(_compute_weight)(parameter, length, axes)
        return weight, lambda upstream: compile_with_xla(_compute_gradients)(upstream, parameter, length, square, axes)

    shape = [1 if axis in axes else size for axis, size in enumerate(ops.shape(parameter))]
    return normalized(parameter, ops.broadcast_to(length, shape))


def _normalize_axes(weight: Tensor, input_axes: tuple[int, ...]) -> tuple[int, ...]:
    """Returns the axes counted from the front."""
    rank = len(weight.shape)
    if not input_axes or any(not -rank <= axis < rank for axis in input_axes):
        raise ValueError(
            f"`input_axes` must be axes of weights of shape {tuple(weight.shape)}. Received: input_axes={input_axes!r}"
        )
    return tuple(axis % rank for axis in input_axes)


def _check_length(length: Tensor, shape: Shape) -> None:
    """Raises `ValueError` if lengths do not broadcast to a shape. Unknown sizes may have any value."""
    own_shape = tuple(length.shape)
    pairs = zip(own_shape[::-1], shape[::-1], strict=False)
    if len(own_shape) > len(shape) or any(
        size not in (1, None, expected) and expected is not None for size, expected in pairs
    ):
        raise ValueError(
            f"`length` must have the shape of `weight_length` with these axes, {shape}, or one that broadcasts to it. "
            f"Received: length of shape {own_shape}"
        )


def _compute_weight(parameter: Tensor, length: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Returns the weights, and |v|^2."""
    square = chained_sum(parameter * parameter, axes)
    return parameter * (_inverse_length(square) * length), square


def _compute_gradients(
    upstream: Tensor, parameter: Tensor, length: Tensor, square: Tensor, axes: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Computes the gradients with respect to the directions and the lengths (equation 3)."""
    inverse = _inverse_length(square)
    by_length = chained_sum(upstream * parameter, axes) * inverse
    # A squared length that was clipped does not depend on the direction.
    along = ops.where(square >= SMALLEST_SQUARE, by_length * inverse, 0)
    return (upstream - parameter * along) * (inverse * length), by_length


def _inverse_length(square: Tensor) -> Tensor:
    return ops.rsqrt(ops.maximum(square, SMALLEST_SQUARE))


def weight_length(weight: Tensor, input_axes: tuple[int, ...]) -> Tensor:
    """Computes the lengths of weight vectors, with which `normalize_weight` reproduces the weights.

    Args:
        weight: Tensor. The weights, of any shape.
        input_axes: Tuple of integers. The axes of one weight vector.

    Returns:
        The lengths. The input axes have size 1.

    Raises:
        ValueError: If the weights do not have these axes.

    Example:

    ```python
    weight = np.array([[3.0], [4.0]])
    weight_length(weight, input_axes=(0,))  # [[5.0]]
    ```
    """
    weight = ops.convert_to_tensor(weight)
    square = ops.sum(weight * weight, axis=_normalize_axes(weight, input_axes), keepdims=True)
    return ops.sqrt(ops.maximum(square, SMALLEST_SQUARE))


def data_dependent_initialization(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Computes factors of the lengths, and biases, with which outputs start with mean 0 and variance 1.

    Args:
        mean: Tensor. The mean of each output over a batch, before the activation, with weights v and the current
            biases.
        variance: Tensor. The variance of each output over the batch, of the same shape.

    Returns:
        The factors of the lengths, 1 / sqrt(variance), and the biases, -mean / sqrt(variance).

    Example:

    ```python
    mean, variance = np.array([2.0]), np.array([4.0])
    factor, bias = data_dependent_initialization(mean, variance)  # 0.5, -1
    ```
    """
    factor = ops.rsqrt(ops.convert_to_tensor(variance) + VARIANCE_EPSILON)
    return factor, -ops.convert_to_tensor(mean) * factor
