"""Hyperparameters on two replicas."""

from __future__ import annotations

import json

import keras
import pytest

from tests.support.processes import run_python


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_two_replicas_take_the_values_that_are_set():
    alone, together = json.loads(run_python("-m", "tests.tune.replicas_program").stdout.splitlines()[-1])
    assert alone == pytest.approx([2.0, 1.0, 1.0, 1.0, 0.9])
    assert together == pytest.approx(alone)
