"""Gradients of a scalar function of one array, on every backend, for comparison with golden numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def value_and_gradient(
    function: Callable[[Any], Any], x: np.ndarray, compiled: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The value and its gradient; `compiled` by XLA, on backends that have it."""
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
