"""Tests that the noise of random layers differs by replica and by step, and repeats in each run."""

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


MIXING = {"TunableMixup", "TunableCutMix"}  # Their partners and shares are random too.


@pytest.fixture(scope="module")
def comparison():
    return call_on_two_devices("tests.distribute.replica_noise", "compare")


def test_replica_noise_covers_every_random_layer(comparison):
    classes = [getattr(keras_reg.layers, name) for name in keras_reg.layers.__all__]
    random = {cls.__name__ for cls in classes if "seed" in inspect.signature(cls).parameters}
    assert random
    assert random == {name.split("-")[0] for name in comparison} - {"Dropout of Keras", *MIXING}


def test_replica_noise_covers_batch_mixing(comparison):
    assert set(comparison) >= MIXING


def test_random_layers_vary_by_replica_and_step_and_repeat_by_run(comparison):
    for name, equal in comparison.items():
        if name != "Dropout of Keras":
            assert equal == {"replicas": False, "steps": False, "runs": True}, name


def test_keras_fault_dropout_draws_equal_noise_on_replicas(comparison):
    """Shows what docs/devices.md says about the layers of Keras, and fails once Keras has fixed it."""
    assert comparison["Dropout of Keras"] == {"replicas": True, "steps": False, "runs": True}
