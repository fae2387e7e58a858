"""Tests of hyperparameters on two replicas."""

from __future__ import annotations

import keras
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_hyperparameters_on_two_replicas_use_set_values():
    alone, together = call_on_two_devices("tests.tune.replicas", "compare")
    assert alone == pytest.approx([2.0, 1.0, 1.0, 1.0, 0.9])
    assert together == pytest.approx(alone)
