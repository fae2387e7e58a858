"""Two replicas that see different samples give the metrics of all samples."""

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
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "tests.metrics.replicas_program"]
    root = pathlib.Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    replicas, one, two = json.loads(done.stdout.splitlines()[-1])
    assert replicas == 2
    assert len(one) == 3
    assert two == pytest.approx(one, rel=1e-5)
