"""Tests of uniform numbers on TensorFlow, where this package chooses the algorithm."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.random._uniform import open_uniform

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="other backends use the Keras sampler")


def test_open_uniform_equals_keras_uniform():
    seeds = [keras.random.SeedGenerator(3) for _ in range(2)]
    for _ in range(2):
        expected = keras.random.uniform((50,), seed=seeds[0])
        np.testing.assert_allclose(open_uniform((50,), seeds[1]), expected, rtol=0, atol=2**-23)


@pytest.mark.parametrize("seed", [5, None, "generator"])
def test_open_uniform_avoids_slow_xla_key_operation(seed):
    import tensorflow as tf

    seed = keras.random.SeedGenerator(5) if seed == "generator" else seed
    for draw, slow in ((open_uniform, False), (lambda shape, seed: keras.random.uniform(shape, seed=seed), True)):
        graph = tf.function(lambda draw=draw: draw((64,), seed)).get_concrete_function().graph
        drawn = [op for op in graph.get_operations() if op.type == "StatelessRandomUniformV2"]
        keys = [op.inputs[1].op.type for op in drawn if op.outputs[0].shape == 64]
        assert len(keys) == 1
        assert (keys[0] == "StatelessRandomGetKeyCounter") is slow


def test_open_uniform_accepts_integer_seeds():
    first, again, other = (np.asarray(open_uniform((50,), seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
