"""Calls NumPy functions on the host from the compiled training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._types import Shape, Tensor


def call_on_host(function: Callable[..., Any], outputs: Sequence[tuple[Shape, str]], *tensors: Tensor) -> list[Tensor]:
    """Calls a function of arrays each time that the step reaches this point. No gradient flows through the call.

    Calls keep the order of the program, and the order of the steps.

    Args:
        function: Callable. Takes an array for each tensor and returns a tuple of arrays, or `None`.
        outputs: The shape and the data type of each array that the function returns. A dimension of `None` is unknown.
            The list is empty if the function returns nothing.
        *tensors: The arguments of the function.

    Returns:
        A list of tensors, one for each of `outputs`.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax
        from jax.experimental import io_callback

        shapes = tuple(jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in outputs)
        return list(io_callback(function, shapes or None, *tensors, ordered=True) or ())
    if backend == "tensorflow":
        import tensorflow as tf

        results = tf.numpy_function(function, tensors, [dtype for _, dtype in outputs])
        for tensor, (shape, _) in zip(results if outputs else (), outputs, strict=True):
            tensor.set_shape(shape)
        return list(results) if outputs else []
    results = function(*(ops.convert_to_numpy(tensor) for tensor in tensors))
    return [ops.convert_to_tensor(array, dtype) for array, (_, dtype) in zip(results or (), outputs, strict=True)]


def wait_for_host() -> None:
    """Waits until all calls of past steps have returned."""
    if keras.backend.backend() == "jax":
        import jax

        jax.effects_barrier()
