"""Tests that two replicas with different samples compute the metrics of all samples."""

from __future__ import annotations

import keras
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_metrics_on_two_replicas_equal_one_replica():
    one, two = call_on_two_devices("tests.metrics.replicas", "compare")
    assert len(one) == 3
    assert two == pytest.approx(one, rel=1e-5)
