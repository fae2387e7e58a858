"""Tests that several JAX devices train as one does, and that the layout places a table of samples."""

from __future__ import annotations

import keras
import pytest

from tests.support.processes import run_python


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="`keras.distribution`")
def test_jax_data_and_model_parallel_training_equals_one_device():
    run_python("-m", "tests.distribute.jax_program")
