"""Weight normalization: Salimans, Kingma, Weight Normalization: A Simple Reparameterization.

arXiv 1602.07868, 2016. A weight vector is its length g times the direction of v: w = g v / |v| (equation 2).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._keras.compilation import chained_sum, compiled, has_many

# Squared lengths are taken to be at least this, so that a vector of zeros has a direction and a gradient.
SMALLEST_SQUARE = 1e-12
# Added to the variance of the outputs that weights are initialized from.
VARIANCE_EPSILON = 1e-10


def normalize_weight(parameter: Any, length: Any, input_axes: tuple[int, ...]) -> Any:
    """Weight vectors of given lengths: length * parameter / |parameter|.

    Args:
        parameter: The directions v, of any shape.
        length: The lengths g, of the shape of `weight_length`, or one that broadcasts to it.
        input_axes: The axes over which one weight vector runs: all but the last for a dense kernel.

    Returns:
        The weights, of the shape of the parameter.

    Raises:
        ValueError: If there are no such axes, or the lengths have another shape.

    Example:

    ```python
    normalize_weight(np.array([[3.0], [4.0]]), np.array([[10.0]]), input_axes=(0,))  # [[6], [8]]
    ```
    """
    parameter = ops.convert_to_tensor(parameter)
    length = ops.convert_to_tensor(length, parameter.dtype)
    axes = _checked_axes(parameter, input_axes)
    _check_length(length, tuple(1 if axis in axes else size for axis, size in enumerate(parameter.shape)))
    if not has_many(parameter):
        return _normalized(parameter, length, axes)[0]

    # TensorFlow's graphs pass over all weights for each operation: compiled by XLA, both directions take half the time.
    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def normalized(parameter: Any, length: Any) -> Any:
        weight, square = compiled(_normalized)(parameter, length, axes)
        return weight, lambda upstream: compiled(_gradients)(upstream, parameter, length, square, axes)

    shape = [1 if axis in axes else size for axis, size in enumerate(ops.shape(parameter))]
    return normalized(parameter, ops.broadcast_to(length, shape))


def _checked_axes(weight: Any, input_axes: tuple[int, ...]) -> tuple[int, ...]:
    """The axes, counted from the front."""
    rank = len(weight.shape)
    if not input_axes or any(not -rank <= axis < rank for axis in input_axes):
        raise ValueError(
            f"`input_axes` must be axes of weights of shape {tuple(weight.shape)}. Received: input_axes={input_axes!r}"
        )
    return tuple(axis % rank for axis in input_axes)


def _check_length(length: Any, shape: tuple[int | None, ...]) -> None:
    """Refuses lengths that do not broadcast to a shape, whose unknown sizes may be any."""
    given = tuple(length.shape)
    pairs = zip(given[::-1], shape[::-1], strict=False)
    if len(given) > len(shape) or any(size not in (1, None, wanted) and wanted is not None for size, wanted in pairs):
        raise ValueError(
            f"`length` must have the shape of `weight_length` with these axes, {shape}, or one that broadcasts to it. "
            f"Received: length of shape {given}"
        )


def _normalized(parameter: Any, length: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """The weights, and |v|^2."""
    square = chained_sum(parameter * parameter, axes)
    return parameter * (_inverse(square) * length), square


def _gradients(upstream: Any, parameter: Any, length: Any, square: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
    """The gradients by the directions and the lengths (equation 3)."""
    inverse = _inverse(square)
    by_length = chained_sum(upstream * parameter, axes) * inverse
    # What is held at the smallest square does not depend on the direction.
    along = ops.where(square >= SMALLEST_SQUARE, by_length * inverse, 0)
    return (upstream - parameter * along) * (inverse * length), by_length


def _inverse(square: Any) -> Any:
    return ops.rsqrt(ops.maximum(square, SMALLEST_SQUARE))


def weight_length(weight: Any, input_axes: tuple[int, ...]) -> Any:
    """The lengths of weight vectors, with which `normalize_weight` gives back the weights.

    Args:
        weight: The weights, of any shape.
        input_axes: The axes over which one weight vector runs.

    Returns:
        The lengths; the input axes have size 1.

    Raises:
        ValueError: If there are no such axes.

    Example:

    ```python
    weight_length(np.array([[3.0], [4.0]]), input_axes=(0,))  # [[5.0]]
    ```
    """
    weight = ops.convert_to_tensor(weight)
    square = ops.sum(weight * weight, axis=_checked_axes(weight, input_axes), keepdims=True)
    return ops.sqrt(ops.maximum(square, SMALLEST_SQUARE))


def data_dependent_initialization(mean: Any, variance: Any) -> tuple[Any, Any]:
    """By what to multiply the lengths, and what to make the biases, so that outputs begin with mean 0 and variance 1.

    Args:
        mean: The mean of each output over a batch, before the activation, with weights v and the present biases.
        variance: Its variance, of the same shape.

    Returns:
        The factors of the lengths, 1 / sqrt(variance), and the biases, -mean / sqrt(variance).

    Example:

    ```python
    factor, bias = data_dependent_initialization(np.array([2.0]), np.array([4.0]))  # 0.5, -1
    ```
    """
    factor = ops.rsqrt(ops.convert_to_tensor(variance) + VARIANCE_EPSILON)
    return factor, -ops.convert_to_tensor(mean) * factor
