"""Computes gradients of scalar functions on every backend, to compare them with golden numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def value_and_gradient(
    function: Callable[[Any], Any], x: np.ndarray, compiled: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the value and its gradient. With `compiled`, XLA compiles the function, if the backend has XLA."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def both(tensor):
            with tf.GradientTape() as tape:
                tape.watch(tensor)
                value = function(tensor)
            return value, tape.gradient(value, tensor)

        if compiled:
            both = tf.function(both, jit_compile=True)
        value, gradient = both(tf.convert_to_tensor(x))
        return value.numpy(), gradient.numpy()
    if backend == "jax":
        import jax

        both = jax.value_and_grad(function)
        value, gradient = (jax.jit(both) if compiled else both)(jax.numpy.asarray(x))
        return np.asarray(value), np.asarray(gradient)
    import torch

    tensor = torch.tensor(x, requires_grad=True)
    value = function(tensor)
    value.backward()
    return value.detach().numpy(), tensor.grad.numpy()


def value_and_gradients(
    function: Callable[[dict[str, Any]], Any], arrays: dict[str, np.ndarray]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the value, and its gradients with respect to several arrays. It is compiled on JAX, for speed."""
    ends = np.cumsum([array.size for array in arrays.values()])[:-1]

    def of_one(flat: Any) -> Any:
        parts = zip(arrays.items(), ops.split(flat, [int(end) for end in ends]), strict=True)
        return function({name: ops.reshape(part, array.shape) for (name, array), part in parts})

    flat = np.concatenate([array.ravel() for array in arrays.values()])
    value, gradient = value_and_gradient(of_one, flat, compiled=keras.backend.backend() == "jax")
    parts = zip(arrays.items(), np.split(gradient, ends), strict=True)
    return value, {name: part.reshape(array.shape) for (name, array), part in parts}
