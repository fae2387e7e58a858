"""Two replicas that see half of each batch train as one that sees all of it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_wrapped_layers_train_on_two_replicas_as_on_one():
    """Initialization from data takes the statistics of the whole batch, and all singular vectors stay alike.

    So do the losses of other layers, which replicas share where these layers let them take turns.
    """
    found = call_on_two_devices("tests.layers.replicas", "compare")
    np.testing.assert_allclose(*found["losses"], rtol=1e-5)
    apart = found["apart"]
    names = {path.split("/")[-1] for path in apart}
    assert {"data_length", "data_statistics", "data_done", "kernel_singular_vector", "kernel_gamma"} <= names
    for path, (to_one, between) in apart.items():
        assert between == 0, path
        # Statistics are kept as a mean over replicas, from which only the variance of the whole batch follows.
        assert to_one < 1e-5 or path.endswith("data_statistics"), path


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="distributed variables are TensorFlow's")
def test_wrapped_layers_are_called_eagerly_in_the_scope_of_a_strategy():
    """There their parameters are distributed variables, which a custom gradient refuses."""
    differences = call_on_two_devices("tests.layers.replicas", "call_in_scope")
    assert max(differences) < 1e-6, differences
