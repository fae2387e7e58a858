"""Compiles parts of TensorFlow's graphs with XLA.

TensorFlow runs a graph operation by operation, with one pass over memory for each. XLA fuses them into a few passes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg._types import Tensor

# The number of independent sums. In one sum, each addition waits for the previous one. A CPU adds several in parallel.
_CHAINS = 8
# From this number of elements on, a pass over memory takes longer than calling a function that XLA compiled.
_MIN_COMPILED_SIZE = 2**17


def can_compile_parts() -> bool:
    """Returns True if XLA compiles parts of TensorFlow's graphs.

    It does so neither in eager mode nor under a strategy, whose devices may lack XLA.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly() and not tf.distribute.has_strategy()


def is_worth_compiling(x: Tensor) -> bool:
    """Returns True if XLA compiles parts of the current graph, and `x` is large or of unknown size."""
    if not can_compile_parts():
        return False
    size = x.shape.num_elements()
    return size is None or size >= _MIN_COMPILED_SIZE


def compile_with_xla(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, compiled by XLA where TensorFlow would run its operations one by one."""
    return _compile_function(function) if can_compile_parts() else function


@functools.cache
def _compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    import tensorflow as tf

    compiled: Callable[..., Any] = tf.function(function, jit_compile=True, reduce_retracing=True)
    return compiled


def chained_sum(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Sums over axes, which keep the size 1.

    XLA on TensorFlow would add all numbers one by one. For large tensors, this function therefore computes eight
    partial sums in parallel.
    """
    if not is_worth_compiling(x):
        return ops.sum(x, axes, keepdims=True)
    import tensorflow as tf

    # As in other sums, 16-bit floats are added in float32.
    x, dtype = ops.cast(x, keras.backend.result_type(x.dtype, "float32")), x.dtype
    # The last axis is divided. For large tensors it is the longest axis: the inputs of a kernel.
    before = (slice(None),) * axes[-1]
    # `ops.shape` needs the rank, which is unknown in functions of any shape.
    length = tf.shape(x)[axes[-1]] // _CHAINS
    pieces = [x[(*before, slice(i * length, (i + 1) * length))] for i in range(_CHAINS)]
    rest = x[(*before, slice(_CHAINS * length, None))]
    return ops.cast(ops.sum(sum(pieces), axes, keepdims=True) + ops.sum(rest, axes, keepdims=True), dtype)
