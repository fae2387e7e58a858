"""Compares training T-JEPA on two replicas, each with half of the batch, with training on one replica."""

from __future__ import annotations

import keras
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_tabular_jepa_trains_on_two_replicas_as_on_one():
    """Compares all weights, including those of the target encoders, which each replica updates.

    The replicas draw different columns and drop different values.
    """
    result = call_on_two_devices("tests.models.replicas", "compare")
    assert result["replicas"] == 2
    assert any("target_encoder" in path for path in result["distances"])
    for path, (to_one, between) in result["distances"].items():
        assert between == 0, path
        assert to_one < 1e-5, path
    if result["drawn"]:
        assert result["drawn"][0] != result["drawn"][1], "the replicas draw the same columns"
        for first, second in result["kept"]:
            assert first != second, "the replicas drop the same"
