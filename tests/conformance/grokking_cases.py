"""Conformance cases of methods for networks that fit their data long before they generalize."""

from __future__ import annotations

import keras
import numpy as np

import keras_reg
from tests.conformance.case import Case, Mistake
from tests.conformance.rules import load_all

EVALUATED = "evaluate returns the compiled loss, and the model without the method has a different one"
OF_KERAS = "it is a function of labels and logits, which Keras treats like its own losses"


def simulate_stablemax(arguments, kernel, bias, batches, learning_rate):
    """Simulates StableMax as in the paper. The derivative of log s is 1 / (1 + |x|)."""
    for _, x, y, _, sample_weight in batches:
        logits = x @ kernel + bias
        s = np.where(logits >= 0, logits + 1, 1 / (1 - np.minimum(logits, 0)))
        gradient = (s / s.sum(1, keepdims=True) - np.eye(len(bias))[y]) / (1 + np.abs(logits))
        gradient = gradient * sample_weight[:, None] / len(y)
        kernel, bias = kernel - learning_rate * x.T @ gradient, bias - learning_rate * gradient.sum(0)
    return kernel, bias, {}


def unlike_softmax(trial) -> None:
    trial.compile(loss=keras_reg.losses.StableMaxCrossentropy())


#: The rules for the monitor, which does not change training.
OF_A_MONITOR = (
    "config_round_trip",
    "registered_for_serialization",
    "wrong_arguments_raise",
    "saved_model_loads_in_a_fresh_process",
    "nothing_is_traced_after_the_first_step",
    "nothing_is_traced_after_the_first_step_by_xla",
    "two_replicas_equal_one",
    "reading_changes_nothing",
    "after_an_interrupted_fit_training_is_plain",
    "evaluation_after_fit_is_plain",
    "mixed_bfloat16",
    "mistakes_raise_and_leave_the_model_whole",
)

GROKKING_CASES = [
    Case(
        cls=keras_reg.losses.StableMaxCrossentropy,
        kind="loss",
        mechanism="loss",
        arguments={},
        configurations=({"sparse": False, "reduction": "sum", "name": "stable"},),
        golden=("tests/ops/test_stable_max.py::test_stablemax_cross_entropy_matches_golden_loss_and_gradient",),
        simulate=simulate_stablemax,
        reference={"loss": 1.186725, "weights": 9.181283},
        wrong_arguments=({"sparse": 1}, {"sparse": "yes"}, {"sparse": None}),
        not_applicable={
            "validation_during_fit_is_plain": EVALUATED,
            "evaluation_after_fit_is_plain": EVALUATED,
            **dict.fromkeys(
                ("resumed_by_backup_and_restore", "same_seed_same_run", "a_ragged_last_batch_is_traced_once"), OF_KERAS
            ),
        },
    ),
    Case(
        cls=keras_reg.optimizers.OrthogonalGradient,
        kind="optimizer",
        mechanism="optimizer wrapper of whole gradients",
        arguments={"optimizer": lambda: keras.optimizers.SGD(0.3, momentum=0.5)},
        configurations=({"optimizer": lambda: keras.optimizers.Adam(0.5, weight_decay=0.1), "name": "angles"},),
        golden=(
            "tests/ops/test_orthogonal_gradient.py::test_orthogonal_gradient_matches_golden_projection_of_loss_gradient",
        ),
        reference={"loss": 0.8384094, "weights": 11.46177},
        wrong_arguments=({"optimizer": None}, {"optimizer": 3}, {"optimizer": "adamm"}, {"name": 3}, {"name": True}),
    ),
    Case(
        cls=keras_reg.callbacks.SoftmaxCollapseMonitor,
        kind="callback",
        mechanism="measurement",
        arguments={},
        configurations=({"output": "left"},),
        wrong_arguments=({"output": 3}, {"output": True}, {"output": ""}),
        mistakes=(Mistake("a loss that cannot collapse", unlike_softmax, "cross-entropy"),),
        not_applicable=dict.fromkeys(
            set(load_all()) - set(OF_A_MONITOR),
            "it does not change training and keeps nothing between epochs; tests/callbacks checks its numbers",
        ),
    ),
]
