"""Random layers draw other noise on each replica, other noise in each step, and the same in each run."""

from __future__ import annotations

import inspect

import keras
import pytest

import keras_reg
from tests.support.two_devices import call_on_two_devices

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("two devices"),
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="replicas of `tf.distribute`"),
]


MIXING = {"TunableMixup", "TunableCutMix"}  # their partners and shares are noise too


@pytest.fixture(scope="module")
def found():
    return call_on_two_devices("tests.distribute.replica_noise", "compare")


def test_replica_noise_covers_every_random_layer(found):
    classes = [getattr(keras_reg.layers, name) for name in keras_reg.layers.__all__]
    random = {cls.__name__ for cls in classes if "seed" in inspect.signature(cls).parameters}
    assert random
    assert random == {name.split("-")[0] for name in found} - {"Dropout of Keras", *MIXING}


def test_replica_noise_covers_batch_mixing(found):
    assert set(found) >= MIXING


def test_random_layers_vary_by_replica_and_step_and_repeat_by_run(found):
    for name, same in found.items():
        if name != "Dropout of Keras":
            assert same == {"replicas": False, "steps": False, "runs": True}, name


def test_keras_fault_dropout_draws_equal_noise_on_replicas(found):
    """What docs/devices.md says of the layers of Keras; it fails once Keras has mended it."""
    assert found["Dropout of Keras"] == {"replicas": True, "steps": False, "runs": True}
