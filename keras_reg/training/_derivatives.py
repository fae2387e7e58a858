"""Derivatives of functions of tensors inside a training step, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_reg.training._convolutions import canonical_convolutions

Tensors = list[Any]
Linearized = tuple[Tensors, Tensors, Callable[[Tensors], Tensors]]


def value_and_gradient(function: Callable[[Tensors], Any], values: Tensors) -> tuple[Any, Tensors]:
    """A scalar function of tensors, and its gradient there; zeros for what it does not depend on.

    Args:
        function: Takes the list and returns a scalar.
        values: The tensors.

    Returns:
        The value and one gradient for each tensor.
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
    if not value.requires_grad:  # a constant
        return value, [torch.zeros_like(one) for one in values]
    return value.detach(), list(torch.autograd.grad(value, values, allow_unused=True, materialize_grads=True))


def linearize(function: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Linearized:
    """A function at some tensors, its derivative along a direction, and what pulls gradients back; from one pass.

    Args:
        function: Takes the list of tensors and returns a list.
        values: The tensors.
        direction: One for each, in its shape.

    Returns:
        What the function returns, its derivative along the direction, and a function that makes of gradients for the
        former gradients for the tensors.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        outputs, pullback = jax.vjp(function, values)
        (tangents,) = jax.linear_transpose(pullback, outputs)((direction,))
        return outputs, tangents, lambda gradients: pullback(gradients)[0]
    step = _in_tensorflow if backend == "tensorflow" else _in_torch
    return step(function, values, direction)


# A derivative along a direction is here that of the pullback, which is linear, for what is pulled back. Forward mode
# knows neither TensorFlow's loops in recurrent layers nor JAX's functions with a gradient of their own.
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
    """Gradients of embeddings are lists of rows in TensorFlow."""
    import tensorflow as tf

    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _in_torch(function: Callable[[Tensors], Tensors], values: Tensors, direction: Tensors) -> Linearized:
    import torch

    known = {"allow_unused": True, "materialize_grads": True}
    # The faster kernels of attention have no second derivative.
    with torch.enable_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        values = [value.detach().requires_grad_() for value in values]
        outputs = function(values)
        seeds = [torch.zeros_like(output, requires_grad=True) for output in outputs]
        pulled = torch.autograd.grad(outputs, values, seeds, create_graph=True, **known)
        tangents = torch.autograd.grad(pulled, seeds, direction, retain_graph=True, **known)

    def pullback(gradients: Tensors) -> Tensors:
        return list(torch.autograd.grad(outputs, values, gradients, retain_graph=True, **known))

    return [output.detach() for output in outputs], list(tangents), pullback
