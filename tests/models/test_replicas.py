"""Two replicas that see half of each batch train T-JEPA as one that sees all of it, with columns of their own."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import keras
import pytest


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_two_replicas_equal_one():
    """The target encoders of the replicas too: each follows by itself, and all stay alike."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "tests.models.replicas_program"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replicas"] == 2
    assert any("target_encoder" in path for path in found["apart"])
    for path, (to_one, between) in found["apart"].items():
        assert between == 0, path
        assert to_one < 1e-5, path
    if found["drawn"]:
        assert found["drawn"][0] != found["drawn"][1], "the replicas draw the same columns"
        for first, second in found["kept"]:
            assert first != second, "the replicas drop the same"
