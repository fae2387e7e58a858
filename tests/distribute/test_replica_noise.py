"""Random layers draw other noise on each replica, other noise in each step, and the same in each run."""

from __future__ import annotations

import inspect
import json

import keras
import pytest

import keras_reg
from tests.support.processes import run_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="replicas of `tf.distribute`"),
]


MIXING = {"TunableMixup", "TunableCutMix"}  # their partners and shares are noise too


@pytest.fixture(scope="module")
def found():
    return json.loads(run_python("-m", "tests.distribute.noise_program").stdout.splitlines()[-1])


def test_every_random_layer_is_looked_at(found):
    classes = [getattr(keras_reg.layers, name) for name in keras_reg.layers.__all__]
    random = {cls.__name__ for cls in classes if "seed" in inspect.signature(cls).parameters}
    assert random
    assert random == {name.split("-")[0] for name in found} - {"Dropout of Keras", *MIXING}


def test_what_mixes_batches_is_looked_at(found):
    assert set(found) >= MIXING


def test_replicas_and_steps_differ_and_runs_repeat(found):
    for name, same in found.items():
        if name != "Dropout of Keras":
            assert same == {"replicas": False, "steps": False, "runs": True}, name


def test_fault_core_layers_draw_the_same_on_each_replica(found):
    """What docs/devices.md says of the layers of Keras; it fails once Keras has mended it."""
    assert found["Dropout of Keras"] == {"replicas": True, "steps": False, "runs": True}
