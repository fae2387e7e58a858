"""Two replicas that see half of each batch train T-JEPA as one that sees all of it, with columns of their own."""

from __future__ import annotations

import keras
import pytest

from tests.support.two_devices import call_on_two_devices


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_tabular_jepa_trains_on_two_replicas_as_on_one():
    """The target encoders of the replicas too: each follows by itself, and all stay alike."""
    found = call_on_two_devices("tests.models.replicas", "compare")
    assert found["replicas"] == 2
    assert any("target_encoder" in path for path in found["apart"])
    for path, (to_one, between) in found["apart"].items():
        assert between == 0, path
        assert to_one < 1e-5, path
    if found["drawn"]:
        assert found["drawn"][0] != found["drawn"][1], "the replicas draw the same columns"
        for first, second in found["kept"]:
            assert first != second, "the replicas drop the same"
