"""Two replicas that see different samples give the metrics of all samples."""

from __future__ import annotations

import json

import keras
import pytest

from tests.support.processes import run_python


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_two_replicas_equal_one():
    one, two = json.loads(run_python("-m", "tests.metrics.replicas_program").stdout.splitlines()[-1])
    assert len(one) == 3
    assert two == pytest.approx(one, rel=1e-5)
