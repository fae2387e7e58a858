"""Tests of chained sums on TensorFlow, for sizes that are and are not multiples of the number of chains."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._keras import compilation
from keras_reg._keras.compilation import chained_sum, compile_with_xla

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends use Keras's sum")


@pytest.fixture(autouse=True)
def chains(monkeypatch):
    monkeypatch.setattr(compilation, "_MIN_COMPILED_SIZE", 8)
    compilation._compile_function.cache_clear()
    yield
    compilation._compile_function.cache_clear()


def trace_sum(axes, shape):
    """Returns the sum as a function that XLA compiles, for an input of this shape."""
    import tensorflow as tf

    function = tf.function(lambda x: compile_with_xla(chained_sum)(x, axes))
    return function.get_concrete_function(tf.TensorSpec(shape))


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (23,), (64,), (0,)])
@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
def test_chained_sum_is_exact_for_all_sizes(shape, known):
    x = np.arange(1, shape[0] + 1, dtype="float32")
    total = trace_sum((0,), shape if known else (None,))(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(total, [x.sum()])


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2), (0, 2)])
def test_chained_sum_accepts_all_axes(axes):
    x = np.arange(3 * 19 * 17, dtype="float32").reshape(3, 19, 17)
    np.testing.assert_array_equal(trace_sum(axes, x.shape)(ops.convert_to_tensor(x)), x.sum(axes, keepdims=True))


def test_chained_sum_accepts_all_ranks():
    for shape in ((9, 4), (9, 4, 3), (20,)):
        x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
        np.testing.assert_array_equal(trace_sum((0,), shape)(ops.convert_to_tensor(x)), x.sum(0, keepdims=True))


def uses_slices(size):
    """Returns True if the sum of this many numbers is computed in slices."""
    import tensorflow as tf

    concrete = tf.function(lambda x: chained_sum(x, (0,))).get_concrete_function(tf.TensorSpec((size,)))
    return "StridedSlice" in {operation.type for operation in concrete.graph.get_operations()}


def test_chained_sum_is_used_for_large_sizes_compiled_by_xla():
    import tensorflow as tf

    assert [uses_slices(size) for size in (7, 8, None)] == [False, True, True]
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        assert not uses_slices(8)


def test_chained_sum_adds_16_bit_floats_in_float32():
    import tensorflow as tf

    # In bfloat16, 256 + 1 is 256.
    x = ops.cast(np.concatenate([np.full(8, 256.0), np.ones(56)]), "bfloat16")
    total = tf.function(lambda x: compile_with_xla(chained_sum)(x, (0,)))(x)
    assert total.dtype == tf.bfloat16
    assert abs(float(total[0]) - (8 * 256 + 56)) <= 8
