"""Conformance cases of noise layers, and of the callback that trains the policy of one of them."""

from __future__ import annotations

import keras
import numpy as np

import keras_reg
from tests.conformance.case import Case, Mistake, Trial

RANDOM = {
    "golden_numbers_are_tested": "its numbers are random; tests/random tests the sampler, and tests/ops tests the mask",
    "eager_equals_compiled": "XLA and eager execution on TensorFlow draw different numbers; tests/random runs compiled",
    "eager_equals_xla": "XLA and eager execution on TensorFlow draw different numbers; tests/random runs compiled",
    "two_replicas_equal_one": "replicas draw different noise; tests/callbacks/noise_replicas.py",
}


def make_policy() -> keras.layers.Layer:
    return keras.layers.Dense(6, name="own")


def set_other_loss(trial: Trial) -> None:
    trial.compile(loss=lambda y_true, y_pred: keras.losses.sparse_categorical_crossentropy(y_true, y_pred, True))


def get_base(layer) -> dict[str, np.ndarray]:
    return {"base": keras.ops.convert_to_numpy(layer.base)}


def get_moving_mean(callback) -> dict[str, np.ndarray]:
    variables = [variable for metric in callback.state for variable in metric.variables]
    return {f"{i} {v.name}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


NOISE_CASES = [
    Case(
        cls=keras_reg.layers.BetaNoise,
        kind="layer",
        mechanism="random layer",
        arguments={"alpha": 4.0, "beta": 2.0},
        configurations=(
            {
                "alpha": 0.5,
                "beta": 3.0,
                "kind": "add",
                "centered": False,
                "noise_shape": (None, 1),
                "seed": 5,
            },
        ),
        wrong_arguments=(
            {"alpha": 0.0},
            {"alpha": -1.0},
            {"alpha": float("nan")},
            {"alpha": True},
            {"alpha": "1"},
            {"beta": 0.0},
            {"beta": True},
            {"beta": "1"},
            {"kind": "divide"},
            {"kind": None},
            {"centered": 1},
            {"centered": "no"},
            {"noise_shape": 2},
            {"noise_shape": "all"},
            {"noise_shape": (0, 2)},
            {"noise_shape": (True, 2)},
            {"seed": 1.5},
            {"seed": True},
            {"seed": "1"},
        ),
        not_applicable=RANDOM,
    ),
    Case(
        cls=keras_reg.layers.PolicyNoiseMask,
        kind="layer",
        mechanism="random layer",
        arguments={"grid": 3},
        configurations=(
            {
                "policy": make_policy,
                "grid": (3,),
                "blur_sigma": 2.0,
                "decay": 0.5,
                "base_momentum": 0.9,
                "log_concentration_range": (-1.0, 2.0),
                "seed": 5,
            },
        ),
        state=get_base,
        between_traces=1e-5,
        wrong_arguments=(
            {"policy": "resnet"},
            {"policy": True},
            {"grid": 0},
            {"grid": 2.5},
            {"grid": True},
            {"grid": "3"},
            {"grid": ()},
            {"grid": (3, 0)},
            {"grid": (True, 3)},
            {"blur_sigma": -1.0},
            {"blur_sigma": True},
            {"blur_sigma": "6"},
            {"decay": 1.0},
            {"decay": float("nan")},
            {"decay": True},
            {"decay": "0.9"},
            {"base_momentum": 1.5},
            {"base_momentum": True},
            {"base_momentum": "0.9"},
            {"log_concentration_range": (1.0, -1.0)},
            {"log_concentration_range": (-90.0, 0.0)},
            {"log_concentration_range": 4.0},
            {"log_concentration_range": "wide"},
            {"log_concentration_range": (True, 2.0)},
            {"seed": 1.5},
            {"seed": True},
            {"seed": "1"},
        ),
        not_applicable=RANDOM,
    ),
    Case(
        cls=keras_reg.callbacks.PolicyGradientNoiseMask,
        kind="callback",
        mechanism="policy",
        layer=lambda: keras_reg.layers.PolicyNoiseMask(grid=3, seed=4, name="mask"),
        arguments={"policy_learning_rate": 1.0},
        configurations=(
            {
                "estimator": "paper",
                "baseline": "none",
                "policy_learning_rate": 0.5,
                "average_epochs": 1,
                "output": "left",
                "save_memory": False,
            },
        ),
        other_arguments={"estimator": "paper"},
        state=get_moving_mean,
        between_traces=1e-5,
        terms=("mask_policy",),
        golden=("tests/callbacks/test_noise_mask.py::test_noise_mask_step_matches_golden_loss_and_gradients",),
        wrong_arguments=(
            {"estimator": "pathwise"},
            {"estimator": None},
            {"baseline": "ema"},
            {"baseline": None},
            {"policy_learning_rate": -1.0},
            {"policy_learning_rate": float("nan")},
            {"policy_learning_rate": True},
            {"policy_learning_rate": "0.1"},
            {"average_epochs": 0},
            {"average_epochs": True},
            {"average_epochs": "3"},
            {"output": 3},
            {"save_memory": 1},
            {"save_memory": "no"},
        ),
        mistakes=(Mistake("a loss that is not cross-entropy", set_other_loss, "cross-entropy"),),
        not_applicable={
            **{name: reason for name, reason in RANDOM.items() if name != "golden_numbers_are_tested"},
            "terms_are_logged": "the loss under masks is not that of inference; tests/callbacks/test_noise_mask.py",
            "state_changes_in_every_epoch": "the average begins with the second epoch; tests/callbacks",
            "loaded_state_is_used_once": "each fit averages the weights of its own last epochs; tests/callbacks",
        },
    ),
]
