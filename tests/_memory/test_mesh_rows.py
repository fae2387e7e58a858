"""Tests of rows that are sharded over the devices of JAX.

The program checks which device holds which rows, and what the compiled steps contain.
"""

from __future__ import annotations

import types

import keras
import pytest

from keras_reg._memory import mesh_rows
from tests.support.processes import ask

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX has `keras.distribution`")


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        ("train", "early_learning", "float32", "data_parallel"),
        ("train", "self_distillation", "float16, top 2", "model_parallel"),
        ("exchange_checkpoints", "bfloat16, top 2"),
        ("leave_whole",),
    ],
    ids=" ".join,
)
def test_mesh_rows_divide_rows_between_devices(request_):
    ask("tests._memory.mesh_rows_program", *request_)


def test_mesh_rows_divide_no_rows_without_distribution():
    assert mesh_rows.num_parts() == 1
    assert mesh_rows.padded_size(7) == 7


def test_mesh_rows_reject_devices_of_other_processes():
    elsewhere = types.SimpleNamespace(value=types.SimpleNamespace(is_fully_addressable=False))
    with pytest.raises(ValueError, match=r"of one process only.*Received: sharded=True with 1 devices"):
        mesh_rows.check_addressable(elsewhere)
