"""Ridge regression on two replicas has the hypergradient of one, and both replicas keep the same numbers."""

from __future__ import annotations

import keras
import numpy as np

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
    for variable in (*tuning._steps.response.variables, tuning._numbers.free):
        first, second = (value.numpy() for value in variable.value.values)
        np.testing.assert_array_equal(first, second)
