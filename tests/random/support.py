"""Helpers that run functions compiled, on backends that compile, and compute gradients of sums."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

BACKEND = keras.backend.backend()


def compiled(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    """Returns the value of a function of float32 tensors, compiled by XLA on TensorFlow and JAX."""
    tensors = [keras.ops.convert_to_tensor(array, "float32") for array in arrays]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        function = tf.function(function, jit_compile=True)
    elif BACKEND == "jax":
        import jax

        function = jax.jit(function)
    return np.array(keras.ops.convert_to_numpy(function(*tensors)))


def gradients(function: Callable, *arrays: np.ndarray, dtype: str = "float32") -> list[np.ndarray]:
    """Returns the gradients of the sum of a function's values for each argument, compiled as in `compiled`."""

    def total(*tensors):
        # The second term makes the gradient zero on every backend if the function does not depend on an argument.
        return keras.ops.sum(function(*tensors)) + sum(0 * keras.ops.sum(tensor) for tensor in tensors)

    tensors = [keras.ops.convert_to_tensor(np.asarray(array, dtype)) for array in arrays]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def both(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = total(*tensors)
            return tape.gradient(value, tensors)

        return [gradient.numpy() for gradient in both(*tensors)]
    if BACKEND == "jax":
        import jax

        return [np.asarray(g) for g in jax.jit(jax.grad(total, tuple(range(len(tensors)))))(*tensors)]
    for tensor in tensors:
        tensor.requires_grad_()
    total(*tensors).backward()
    return [tensor.grad.numpy() for tensor in tensors]
