"""NumPy functions on the host, called from the compiled training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


def on_host(function: Callable[..., Any], outputs: Sequence[tuple[tuple[int | None, ...], str]], *tensors: Any) -> Any:
    """Calls a function of arrays each time that the step comes here, in the order of the program, also of its steps.

    No gradient flows through it.

    Args:
        function: What to call, with an array for each tensor.
        outputs: The shape and the type of each array that it returns in a tuple, a dimension of `None` being unknown;
            empty for a function that returns nothing.
        tensors: Its arguments.

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

        found = tf.numpy_function(function, tensors, [dtype for _, dtype in outputs])
        for tensor, (shape, _) in zip(found if outputs else (), outputs, strict=True):
            tensor.set_shape(shape)
        return list(found) if outputs else []
    found = function(*(ops.convert_to_numpy(tensor) for tensor in tensors))
    return [ops.convert_to_tensor(array, dtype) for array, (_, dtype) in zip(found or (), outputs, strict=True)]


def wait_for_host() -> None:
    """Waits until what was called in past steps has come back."""
    if keras.backend.backend() == "jax":
        import jax

        jax.effects_barrier()
