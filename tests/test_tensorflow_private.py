"""Tests that the private names of TensorFlow that the tests use still work and are still needed."""

from __future__ import annotations

import keras
import pytest

from tests.support.tensorflow_private import forget_custom_gradients, num_custom_gradients

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="private names of TensorFlow")


def test_tensorflow_keeps_traced_custom_gradients_until_they_are_forgotten():
    import tensorflow as tf

    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    forget_custom_gradients()
    assert num_custom_gradients() == 0
    tf.function(lambda x: tf.gradients(doubled(x), x))(tf.constant(1.0))
    assert num_custom_gradients() > 0, "TensorFlow frees them now: remove tests/support/tensorflow_private.py"
    forget_custom_gradients()
    assert num_custom_gradients() == 0
