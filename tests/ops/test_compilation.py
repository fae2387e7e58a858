"""Sums by chains, as TensorFlow's XLA computes them, over sizes that chains divide and that they do not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.compilation import chained_sum, compiled

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="elsewhere it is Keras's sum")


def summed(axes, shape):
    """The function in a graph that XLA compiles, for an input of that shape."""
    import tensorflow as tf

    function = tf.function(lambda x: compiled(chained_sum)(x, axes))
    return function.get_concrete_function(tf.TensorSpec(shape))


@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (23,), (64,), (0,)])
@pytest.mark.parametrize("known", [True, False], ids=["static", "dynamic"])
def test_sums_of_all_sizes(shape, known):
    x = np.arange(1, shape[0] + 1, dtype="float32")
    total = summed((0,), shape if known else (None,))(ops.convert_to_tensor(x))
    np.testing.assert_array_equal(total, [x.sum()])


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2), (0, 2)])
def test_sums_over_axes(axes):
    x = np.arange(3 * 19 * 17, dtype="float32").reshape(3, 19, 17)
    np.testing.assert_array_equal(summed(axes, x.shape)(ops.convert_to_tensor(x)), x.sum(axes, keepdims=True))


def test_one_function_is_for_all_ranks():
    for shape in ((9, 4), (9, 4, 3), (20,)):
        x = np.arange(np.prod(shape), dtype="float32").reshape(shape)
        np.testing.assert_array_equal(summed((0,), shape)(ops.convert_to_tensor(x)), x.sum(0, keepdims=True))


def test_chains_are_added_by_xla_and_not_elsewhere():
    import tensorflow as tf

    def sliced(function):
        specification = tf.TensorSpec((64,))
        concrete = tf.function(function).get_concrete_function(specification)
        return "StridedSlice" in {operation.type for operation in concrete.graph.get_operations()}

    assert sliced(lambda x: chained_sum(x, (0,)))
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        assert not sliced(lambda x: chained_sum(x, (0,)))


def test_sixteen_bits_are_added_in_float32():
    import tensorflow as tf

    # With 16 bits 256 + 1 is 256.
    x = ops.cast(np.concatenate([np.full(8, 256.0), np.ones(56)]), "bfloat16")
    total = tf.function(lambda x: compiled(chained_sum)(x, (0,)))(x)
    assert total.dtype == tf.bfloat16
    assert abs(float(total[0]) - (8 * 256 + 56)) <= 8
