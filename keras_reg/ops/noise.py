"""Dropout and Gaussian noise of uniform numbers, with one strength, or one for each sample."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.random._normal import normal_of_uniform


def along_batch(strength: Any, inputs: Any) -> Any:
    """A scalar, or numbers of shape (batch,), as float32 in a shape that fits the inputs."""
    strength = ops.cast(strength, "float32")
    return strength if not len(strength.shape) else ops.reshape(strength, (-1, *[1] * (len(inputs.shape) - 1)))


def noise_sizes(noise_shape: tuple[int | None, ...] | None, inputs: Any) -> tuple[Any, ...]:
    """The shape of noise for inputs, where `None` means their size.

    Raises:
        ValueError: If there are not as many sizes as axes.
    """
    shape = tuple(ops.shape(inputs))
    if noise_shape is None:
        return shape
    if len(noise_shape) != len(shape):
        raise ValueError(
            f"`noise_shape` must have as many axes as the inputs. Received: noise_shape={noise_shape} for "
            f"inputs of shape {tuple(inputs.shape)}"
        )
    return tuple(size if own is None else own for own, size in zip(noise_shape, shape, strict=True))


def drop_inputs(inputs: Any, rate: Any, uniform: Any) -> Any:
    """Inputs without those whose uniform number is below the rate; the others are divided by 1 - rate."""
    rate = along_batch(rate, inputs)
    scale = ops.cast(1.0 / (1.0 - rate), inputs.dtype)
    return ops.where(uniform >= rate, inputs * scale, ops.zeros_like(inputs))


def normal_noise(stddev: Any, uniform: Any, inputs: Any) -> Any:
    """Normal numbers of a standard deviation, made of uniform ones, which are others on each replica."""
    return ops.cast(along_batch(stddev, inputs) * normal_of_uniform(uniform), inputs.dtype)
