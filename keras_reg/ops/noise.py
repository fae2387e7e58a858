"""Dropout and Gaussian noise from uniform numbers, with one strength for the batch or one for each sample."""

from __future__ import annotations

from keras import ops

from keras_reg._types import Shape, Tensor
from keras_reg.random._normal import normal_from_uniform


def along_batch(strength: Tensor | float, inputs: Tensor) -> Tensor:
    """Reshapes a scalar, or numbers of shape (batch,), so that they broadcast with the inputs, in float32."""
    strength = ops.cast(strength, "float32")
    return strength if not len(strength.shape) else ops.reshape(strength, (-1, *[1] * (len(inputs.shape) - 1)))


def noise_sizes(noise_shape: Shape | None, inputs: Tensor) -> tuple[Tensor, ...]:
    """Returns the shape of noise for inputs. A size of `None` means the size of the inputs.

    Raises:
        ValueError: If the number of sizes differs from the number of axes.
    """
    shape = tuple(ops.shape(inputs))
    if noise_shape is None:
        return shape
    if len(noise_shape) != len(shape):
        raise ValueError(
            f"`noise_shape` must have as many axes as the inputs. Received: noise_shape={noise_shape} for "
            f"inputs of shape {tuple(inputs.shape)}"
        )
    return tuple(size if fixed is None else fixed for fixed, size in zip(noise_shape, shape, strict=True))


def drop_inputs(inputs: Tensor, rate: Tensor | float, uniform: Tensor) -> Tensor:
    """Sets inputs to 0 where the uniform number is below the rate, and divides the others by 1 - rate."""
    rate = along_batch(rate, inputs)
    scale = ops.cast(1.0 / (1.0 - rate), inputs.dtype)
    return ops.where(uniform >= rate, inputs * scale, ops.zeros_like(inputs))


def normal_noise(stddev: Tensor | float, uniform: Tensor, inputs: Tensor) -> Tensor:
    """Converts uniform numbers, which differ between replicas, to normal numbers with a given standard deviation."""
    return ops.cast(along_batch(stddev, inputs) * normal_from_uniform(uniform), inputs.dtype)
