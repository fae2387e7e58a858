"""The conformance case of self-tuning."""

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


PENALTY = "the loss of an evaluation contains the penalty with the tuned strength too"

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
            # Adam would make rounding errors, which differ between traces, as large as a gradient.
            "response_optimizer": "sgd",
            "seed": 3,
        },
        configurations=(
            {"kind": "stn", "train_steps": 2, "scale": 0.25, "response_optimizer": "adam", "batch_size": 9},
        ),
        other_arguments={"learning_rate": 5.0, "max_step": 5.0},
        state=state,
        between_traces=1e-5,
        golden=(
            "tests/training/test_derivatives.py::test_response_step_matches_golden_loss_and_gradients",
            "tests/ops/test_hyperparameter_step.py::test_hyperparameter_step_matches_golden_gradients",
        ),
        wrong_arguments=(
            *({"kind": value} for value in ("beta", None)),
            *({"train_steps": value} for value in (0, 2.5, True, "5")),
            *({"tuning_steps": value} for value in (0, 1.5, True, "1")),
            *({"warmup_steps": value} for value in (-1, 1.5, True, "9")),
            *({"scale": value} for value in (0.0, True, "0.5")),
            *({"tune_scale": value} for value in (1, "yes")),
            *({"entropy_weight": value} for value in (-1.0, True, "0")),
            *({"learning_rate": value} for value in (0.0, True, "0.01")),
            *({"max_step": value} for value in (0.0, True, "0.3")),
            *({"noise_gate": value} for value in (-1.0, True, "2")),
            *({"batch_size": value} for value in (0, 1.5, True, "128")),
            *({"seed": value} for value in (1.5, True, "0")),
        ),
        mistakes=(
            Mistake("no data", lambda trial: None, "tuning_data=None", arguments={"tuning_data": None}),
            Mistake("no list of handles", lambda trial: None, "list", arguments={"hyperparameters": [FEATURES]}),
        ),
        not_applicable={
            "validation_during_fit_is_plain": PENALTY,
            "evaluation_after_fit_is_plain": PENALTY,
            "config_round_trip": "the configuration has no data; tests/callbacks/test_self_tuning.py",
            "terms_are_logged": "it adds nothing to the loss",
            "training_equals_a_simulation": "ridge regression in closed form; tests/callbacks/test_self_tuning.py",
            "training_equals_the_other_backends": "the backends draw different perturbations",
            "two_replicas_equal_one": "replicas draw different perturbations; tests/callbacks/test_self_tuning.py",
            "eager_equals_compiled": "TensorFlow draws different perturbations under XLA",
            "eager_equals_xla": "TensorFlow draws different perturbations under XLA",
            "no_effect_is_said": "tests/callbacks/test_self_tuning.py",
        },
    )
]
