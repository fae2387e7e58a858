"""Two replicas that see half of each batch train as one that sees all of it."""

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
    """Initialization from data takes the statistics of the whole batch, and all singular vectors stay alike."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "tests.layers.replicas_program"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replicas"] == 2
    names = {path.split("/")[-1] for path in found["apart"]}
    assert {"data_length", "data_statistics", "data_done", "kernel_singular_vector", "kernel_gamma"} <= names
    for path, (to_one, between) in found["apart"].items():
        assert between == 0, path
        # Statistics are kept as a mean over replicas, from which only the variance of the whole batch follows.
        assert to_one < 1e-5 or path.endswith("data_statistics"), path
