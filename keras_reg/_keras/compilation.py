"""What TensorFlow's graphs run operation by operation, one pass over memory for each, compiled by XLA to a few."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# How many numbers a processor adds at once: the next addition of a chain waits for the one before.
_CHAINS = 8
# Numbers from which on a pass over them takes longer than to call what XLA compiled.
_MANY = 2**17


def compiles_apart() -> bool:
    """Whether XLA compiles parts of TensorFlow's graphs: not when eager, nor under a strategy (devices may lack it)."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and not tf.distribute.has_strategy()


def has_many(x: Any) -> bool:
    """Whether XLA compiles parts here, and `x` has many numbers, or it is not known how many."""
    if not compiles_apart():
        return False
    size = x.shape.num_elements()
    return size is None or size >= _MANY


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled by XLA where TensorFlow would run its operations one by one."""
    return _tensorflow_function(function) if compiles_apart() else function


@functools.cache
def _tensorflow_function(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    compiled: Callable[..., Any] = tf.function(function, jit_compile=True, reduce_retracing=True)
    return compiled


def chained_sum(x: Any, axes: tuple[int, ...]) -> Any:
    """The sum over axes, which it keeps: by eight chains where TensorFlow's XLA would add all one by one."""
    if not has_many(x):
        return ops.sum(x, axes, keepdims=True)
    import tensorflow as tf

    # In float32 for types of 16 bits, as sums are.
    x, dtype = ops.cast(x, keras.backend.result_type(x.dtype, "float32")), x.dtype
    before = (slice(None),) * axes[-1]  # the last of them is the longest where that matters: the inputs of a kernel
    length = tf.shape(x)[axes[-1]] // _CHAINS  # Keras's `shape` needs the rank, which functions of any shape lack
    pieces = [x[(*before, slice(i * length, (i + 1) * length))] for i in range(_CHAINS)]
    rest = x[(*before, slice(_CHAINS * length, None))]
    return ops.cast(ops.sum(sum(pieces), axes, keepdims=True) + ops.sum(rest, axes, keepdims=True), dtype)
