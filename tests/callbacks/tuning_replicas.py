"""Programs that tune the strength of ridge regression on two replicas."""

from __future__ import annotations

import unittest.mock

import keras
import numpy as np

from keras_reg.callbacks._self_tuning.delta_steps import DeltaSteps
from tests.callbacks.test_self_tuning import ridge
from tests.support.replicas import two_replicas


def tune() -> dict[str, float]:
    """Returns the gradient and loss of `SelfTuning`. On TensorFlow, checks that both replicas keep equal values."""
    with two_replicas():
        tuning = ridge(0.25)
    if keras.backend.backend() == "tensorflow":
        for variable in (*tuning._steps.response.variables, tuning._tuned.free):
            first, second = (value.numpy() for value in variable.value.values)
            np.testing.assert_array_equal(first, second)
    return {
        "gradient": float(tuning.gradients["l2"]),
        "tuning_loss": float(tuning.model.history.history["tuning_loss"][-1]),
    }


def average_gradients() -> list[float]:
    """Returns the number of steps, and the sums of gradients and of their squares, of the TensorFlow strategy.

    One replica has a gradient of 3 in each step, the other has -1.
    """
    import tensorflow as tf

    def gradient_of_replica(self, *arguments):
        loss, gradient, scale_gradient = original(self, *arguments)
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return loss, tf.where(first, 3.0, -1.0) * tf.ones_like(gradient), scale_gradient

    original = DeltaSteps.compute_tuning_gradient
    with unittest.mock.patch.object(DeltaSteps, "compute_tuning_gradient", gradient_of_replica), two_replicas():
        return ridge(0.25, samples=64, steps=30)._tuned.all_moments.numpy()[:, 0].tolist()
