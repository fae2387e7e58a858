"""Tests of configurations with functions: callbacks are restored from them, directly and by Keras's serialization."""

from __future__ import annotations

import keras
import pytest

from keras_reg import callbacks
from keras_reg.tune import Float


@keras.saving.register_keras_serializable("tests")
def select_hidden(layer):
    return layer.name == "hidden"


@keras.saving.register_keras_serializable("tests")
def half(epoch, epochs=2):
    return 0.5


CASES = [
    (callbacks.CollapseMonitor, {"layer_or_function": half, "data": [0, 1]}, "layer_or_function"),
    (callbacks.GeneralizedGaussianShape, {"include": ["a*", select_hidden], "variables": select_hidden}, "include"),
    (callbacks.HyperparameterSchedule, {"schedules": {"rate": half, "decay": [0.1, 0.2]}}, "schedules"),
    (callbacks.Polarization, {"strength": 0.1, "include": select_hidden, "exclude": ["b", select_hidden]}, "exclude"),
    (callbacks.ProgressiveSelfDistillation, {"source": "model", "schedule": half}, "schedule"),
    (callbacks.SparsityMask, {"mask_epoch": 1, "include": ["a", select_hidden]}, "include"),
    (callbacks.TrainedRankPruning, {"exclude": select_hidden}, "exclude"),
]


@pytest.mark.parametrize(("cls", "arguments", "name"), CASES, ids=[cls.__name__ for cls, *_ in CASES])
def test_callback_config_restores_functions(cls, arguments, name):
    callback = cls(**arguments)
    serialized = keras.saving.serialize_keras_object(callback)
    for restored in (cls.from_config(callback.get_config()), keras.saving.deserialize_keras_object(serialized)):
        assert getattr(restored, name) == arguments[name]


def test_self_tuning_config_restores_hyperparameters_from_tuple():
    rate = Float("rate", init=0.3, low=0.0, high=0.9)
    tuning = callbacks.SelfTuning(None, (rate,))
    for restored in (
        callbacks.SelfTuning.from_config(tuning.get_config()),
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(tuning)),
    ):
        (handle,) = restored.hyperparameters
        assert handle.get_config() == rate.get_config()
