"""Weight normalization: Salimans, Kingma, Weight Normalization: A Simple Reparameterization.

arXiv 1602.07868, 2016. A weight vector is its length g times the direction of v: w = g v / |v| (equation 2).
"""

from __future__ import annotations

from typing import Any

from keras import ops

# Squared lengths are taken to be at least this, so that a vector of zeros has a direction and a gradient.
SMALLEST_SQUARE = 1e-12
# Added to the variance of the outputs that weights are initialized from.
VARIANCE_EPSILON = 1e-10


def normalize_weight(parameter: Any, length: Any, input_axes: tuple[int, ...]) -> Any:
    """Weight vectors of given lengths: length * parameter / |parameter|.

    Args:
        parameter: The directions v, of any shape.
        length: The lengths g, of a shape that broadcasts with the parameter's; that of `weight_length`.
        input_axes: The axes over which one weight vector runs: all but the last for a dense kernel.

    Returns:
        The weights, of the shape of the parameter.

    Example:

    ```python
    keras_reg.ops.normalize_weight(np.array([[3.0], [4.0]]), np.array([[10.0]]), input_axes=(0,))  # [[6], [8]]
    ```
    """
    parameter = ops.convert_to_tensor(parameter)
    length = ops.convert_to_tensor(length, parameter.dtype)
    square = ops.sum(parameter * parameter, axis=input_axes, keepdims=True)
    return parameter * (ops.rsqrt(ops.maximum(square, SMALLEST_SQUARE)) * length)


def weight_length(weight: Any, input_axes: tuple[int, ...]) -> Any:
    """The lengths of weight vectors, with which `normalize_weight` gives back the weights.

    Args:
        weight: The weights, of any shape.
        input_axes: The axes over which one weight vector runs.

    Returns:
        The lengths; the input axes have size 1.

    Example:

    ```python
    keras_reg.ops.weight_length(np.array([[3.0], [4.0]]), input_axes=(0,))  # [[5.0]]
    ```
    """
    weight = ops.convert_to_tensor(weight)
    return ops.sqrt(ops.maximum(ops.sum(weight * weight, axis=input_axes, keepdims=True), SMALLEST_SQUARE))


def data_dependent_initialization(mean: Any, variance: Any) -> tuple[Any, Any]:
    """By what to multiply the lengths, and what to make the biases, so that outputs begin with mean 0 and variance 1.

    Args:
        mean: The mean of each output over a batch, before the activation, with weights v and the present biases.
        variance: Its variance, of the same shape.

    Returns:
        The factors of the lengths, 1 / sqrt(variance), and the biases, -mean / sqrt(variance).

    Example:

    ```python
    factor, bias = keras_reg.ops.data_dependent_initialization(np.array([2.0]), np.array([4.0]))  # 0.5, -1
    ```
    """
    factor = ops.rsqrt(ops.convert_to_tensor(variance) + VARIANCE_EPSILON)
    return factor, -ops.convert_to_tensor(mean) * factor
