"""Compares training on two replicas, each with half of the batch, with training on one replica."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_wrapped_layers_train_on_two_replicas_as_on_one():
    """Compares weights and losses.

    Initialization from data uses the statistics of the whole batch. Singular vectors are equal on all replicas. Losses
    of other layers count for all replicas, although these layers let the replicas take turns.
    """
    result = call_on_two_devices("tests.layers.replicas", "compare")
    np.testing.assert_allclose(*result["losses"], rtol=1e-5)
    distances = result["distances"]
    names = {path.split("/")[-1] for path in distances}
    assert {"data_length", "data_statistics", "data_done", "kernel_singular_vector", "kernel_gamma"} <= names
    for path, (to_one, between) in distances.items():
        assert between == 0, path
        # The statistics are means over replicas. They differ from those of one replica, but give the same variance.
        assert to_one < 1e-5 or path.endswith("data_statistics"), path


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="distributed variables are TensorFlow's")
def test_wrapped_layers_are_called_eagerly_in_the_scope_of_a_strategy():
    """Calls layers whose parameters are distributed variables, which a custom gradient does not accept."""
    differences = call_on_two_devices("tests.layers.replicas", "call_in_scope")
    assert max(differences) < 1e-6, differences
