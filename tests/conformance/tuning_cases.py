"""The case of self-tuning."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg.callbacks import SelfTuning
from keras_reg.regularizers import TunableL2
from keras_reg.tune import Float
from tests.conformance.case import FEATURES, HIDDEN, Case, Mistake, problem


def dense() -> keras.layers.Layer:
    decay = TunableL2(Float("decay", 0.05, low=0.0, log=True))
    return keras.layers.Dense(HIDDEN, activation="tanh", kernel_regularizer=decay)


def state(method: SelfTuning) -> dict[str, np.ndarray]:
    return {"decay": np.float32(method.values["decay"]), "gradient": np.float32(method.gradients["decay"])}


PENALTY = "the penalty with the tuned strength is in the loss of an evaluation too"

TUNING_CASES = [
    Case(
        cls=SelfTuning,
        kind="callback",
        mechanism="tuned hyperparameter",
        layer=dense,
        arguments={
            "tuning_data": lambda: problem(30, seed=5),
            "train_steps": 2,
            "warmup_steps": 1,
            "learning_rate": 0.05,
            # Adam would make the rounding errors of one trace as large as a gradient.
            "response_optimizer": "sgd",
            "seed": 3,
        },
        configurations=({"train_steps": 2, "scale": 0.25, "response_optimizer": "adam", "batch_size": 9},),
        other_arguments={"learning_rate": 5.0, "max_step": 5.0},
        state=state,
        between_traces=1e-5,
        golden=(
            "tests/training/test_derivatives.py::test_response_step_matches_golden_loss_and_gradients",
            "tests/ops/test_hyperparameter_step.py::test_hyperparameter_step_matches_golden_gradients",
        ),
        wrong_arguments=(
            {"train_steps": 0},
            {"tuning_steps": 1.5},
            {"warmup_steps": -1},
            {"scale": 0.0},
            {"tune_scale": 1},
            {"entropy_weight": -1.0},
            {"learning_rate": 0.0},
            {"max_step": 0.0},
            {"noise_gate": "2"},
            {"batch_size": 0},
        ),
        mistakes=(
            Mistake("no data", lambda trial: None, "tuning_data=None", arguments={"tuning_data": None}),
            Mistake("no list of handles", lambda trial: None, "list", arguments={"hyperparameters": [FEATURES]}),
        ),
        not_applicable={
            "validation_during_fit_is_plain": PENALTY,
            "evaluation_after_fit_is_plain": PENALTY,
            "config_round_trip": "data are in no configuration; tests/callbacks/test_self_tuning.py",
            "terms_are_logged": "it adds nothing to the loss",
            "training_equals_a_simulation": "ridge regression in closed form; tests/callbacks/test_self_tuning.py",
            "training_equals_the_other_backends": "each draws other perturbations",
            "two_replicas_equal_one": "the two draw other perturbations; tests/callbacks/test_self_tuning.py",
            "eager_equals_compiled": "under XLA TensorFlow draws other perturbations",
            "eager_equals_xla": "under XLA TensorFlow draws other perturbations",
            "no_effect_is_said": "tests/callbacks/test_self_tuning.py",
        },
    )
]
