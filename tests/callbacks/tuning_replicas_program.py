"""Ridge regression on two replicas has the hypergradient of one, and both replicas keep the same numbers.

On TensorFlow, where each replica draws its own batch: what they move by is the mean of their gradients.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_reg.callbacks.delta_steps import DeltaSteps
from tests.callbacks.test_self_tuning import ridge
from tests.support import stn
from tests.support.replicas import divide_the_processor, two_replicas

divide_the_processor()

with two_replicas():
    tuning = ridge(0.25)
gradient, expected = tuning.gradients["l2"], float(stn.golden("oracle_ridge/dLv_dlam"))
np.testing.assert_allclose(gradient, 0.997 * expected, rtol=0.05)
np.testing.assert_allclose(
    tuning.model.history.history["tuning_loss"][-1], float(stn.golden("oracle_ridge/Lv")), rtol=1e-5
)
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    for variable in (*tuning._steps.response.variables, tuning._numbers.free):
        first, second = (value.numpy() for value in variable.value.values)
        np.testing.assert_array_equal(first, second)

    def of_each_replica(self, *arguments):
        loss, gradient, of_scales = found(self, *arguments)
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return loss, tf.where(first, 3.0, -1.0) * tf.ones_like(gradient), of_scales

    found, DeltaSteps.tuning_gradient = DeltaSteps.tuning_gradient, of_each_replica
    with two_replicas():
        steps, total, squares = ridge(0.25, samples=64, steps=30)._numbers.all_moments.numpy()[:, 0]
    assert steps > 0
    assert total == squares == steps, "every step takes a gradient of 1, the mean of 3 and -1"
