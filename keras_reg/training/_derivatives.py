"""Derivatives of functions of tensors inside a training step, for every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_reg.training._convolutions import canonical_convolutions

Tensors = list[Any]
Linearized = tuple[Tensors, Tensors, Callable[[Tensors], Tensors]]


def value_and_gradient(function: Callable[[Tensors], Any], values: Tensors) -> tuple[Any, Tensors]:
    """Returns the value of a scalar function of tensors, and its gradient.

    Args:
        function: Callable. Takes the list of tensors and returns a scalar.
        values: The tensors.

    Returns:
        The value, and one gradient for each tensor. The gradient is zero if the value does not depend on the tensor.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        value, gradients = canonical_convolutions(jax.value_and_grad(function))(values)
        return value, gradients
    if backend == "tensorflow":
        import tensorflow as tf

        values = [tf.identity(value) for value in values]
        with tf.GradientTape() as tape:
            tape.watch(values)
            value = function(values)
        return value, _dense(tape.gradient(value, values, unconnected_gradients="zero"))

    import torch

    with torch.enable_grad():
        values = [value.detach().requires_grad_() for value in values]
        value = function(values)
    if not value.requires_grad:  # The value is a constant.
        return value, [torch.zeros_like(tensor) for tensor in values]
    return value.detach(), list(torch.autograd.grad(value, values, allow_unused=True, materialize_grads=True))


def linearize(function: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Linearized:
    """Computes a function, its derivative along a direction, and its pullback in one pass.

    Args:
        function: Callable. Takes the list of tensors and returns a list of tensors.
        values: The tensors.
        direction: One tensor for each of `values`, in its shape.

    Returns:
        The results of the function, their derivatives along the direction, and the pullback. The pullback maps
        gradients with respect to the results to gradients with respect to `values`.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        outputs, pullback = jax.vjp(function, values)
        (tangents,) = jax.linear_transpose(pullback, outputs)((direction,))
        return outputs, tangents, lambda gradients: pullback(gradients)[0]
    step = _in_tensorflow if backend == "tensorflow" else _in_torch
    return step(function, values, direction)


# The pullback is linear in the gradients that it receives. Its derivative with respect to them is the derivative of the
# function along a direction. Forward mode would support neither TensorFlow's loops in recurrent layers nor JAX's custom
# gradients.
def _in_tensorflow(function: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Linearized:
    import tensorflow as tf

    values = [tf.identity(value) for value in values]
    with tf.GradientTape() as outer:
        with tf.GradientTape(persistent=True) as inner:
            inner.watch(values)
            outputs = function(values)
        seeds = [tf.zeros_like(output) for output in outputs]
        outer.watch(seeds)
        pulled = _dense(inner.gradient(outputs, values, seeds, unconnected_gradients="zero"))
    tangents = outer.gradient(pulled, seeds, direction, unconnected_gradients="zero")

    def pullback(gradients: Tensors) -> Tensors:
        return _dense(inner.gradient(outputs, values, gradients, unconnected_gradients="zero"))

    return outputs, tangents, pullback


def _dense(gradients: Tensors) -> Tensors:
    """Converts gradients of embeddings, which are lists of rows in TensorFlow, to tensors."""
    import tensorflow as tf

    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _in_torch(function: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Linearized:
    import torch

    known = {"allow_unused": True, "materialize_grads": True}
    # The faster attention kernels have no second derivative.
    with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        values = [value.detach().requires_grad_() for value in values]
        outputs = function(values)
        seeds = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        pulled = torch.autograd.grad(outputs, values, seeds, create_graph=True, **known)
        tangents = torch.autograd.grad(pulled, seeds, direction, retain_graph=True, **known)

    def pullback(gradients: Tensors) -> Tensors:
        return list(torch.autograd.grad(outputs, values, gradients, retain_graph=True, **known))

    return [output.detach() for output in outputs], list(tangents), pullback
