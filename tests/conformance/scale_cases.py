"""Conformance cases of methods that prune by the scales of batch normalizations, and of the report."""

from __future__ import annotations

import keras

import keras_reg
from tests.conformance.case import Case, Mistake
from tests.conformance.regularizer_cases import OF_A_VARIANT, STRENGTHS
from tests.conformance.rules import load_all

NORMALIZED = {
    "terms_are_logged": "the loss under the statistics of a batch differs from that of inference; tests/callbacks",
    "training_equals_a_simulation": "the simulation has no batch normalization; tests/callbacks",
}


def normalization() -> keras.Layer:
    """Returns a layer that uses the statistics of the whole batch, also on two replicas, as JAX always does."""
    return keras.layers.BatchNormalization(synchronized=keras.backend.backend() == "tensorflow")


NO_SCALE = Mistake(
    "names of no batch normalization", lambda trial: None, "no batch normalization", arguments={"include": "conv*"}
)
WRONG_SCALE_ARGUMENTS = (
    *({"strength": value} for value in (-1.0, float("nan"), True, "1")),
    *({"include": value} for value in (3, True)),
    *({"exclude": value} for value in (3, [3])),
)

#: The mask is for the kernel of the first dense layer, which serves as a scale.
MASK = [[0, 1, 1, 0, 0, 1], [1, 0, 1, 0, 1, 1], [0, 0, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0]]

SCALE_CASES = [
    Case(
        cls=keras_reg.regularizers.MaskSparsity,
        kind="regularizer",
        mechanism="regularizer",
        arguments={"strength": 0.05, "mask": MASK},
        configurations=({"strength": 0.5, "mask": [1, 0], "threshold": 0.5, "kind": "l2"},),
        golden=("tests/ops/test_mask_sparsity.py::test_mask_sparsity_penalty_matches_golden_loss_and_gradient",),
        reference={"loss": 1.399757, "weights": 8.841202},
        wrong_arguments=(
            *STRENGTHS,
            {"mask": [0, 2]},
            {"mask": "all"},
            *({"threshold": value} for value in (-1.0, True, "0", None)),
            *({"kind": value} for value in ("l3", None)),
        ),
        not_applicable=dict.fromkeys(
            set(load_all()) - {*OF_A_VARIANT, "config_round_trip", "registered_for_serialization"}
            | {"training_equals_a_simulation"},
            "it is a function of a weight like NuclearNorm, which represents it here; its mask fits only one kernel",
        ),
    ),
    Case(
        cls=keras_reg.callbacks.Polarization,
        kind="callback",
        mechanism="objective term",
        layer=normalization,
        arguments={"strength": 0.05},
        configurations=({"strength": 0.5, "sparsity": 0.5, "max_scale": 2.0, "include": "a*", "exclude": ["b", "c*"]},),
        other_arguments={"sparsity": -1.0, "strength": 0.5},
        terms=("polarization",),
        golden=("tests/ops/test_polarization.py::test_polarization_penalty_matches_golden_loss_and_gradient",),
        reference={"loss": 1.327546, "polarization": 0.03725506, "weights": 15.31879},
        wrong_arguments=(
            *WRONG_SCALE_ARGUMENTS,
            *({"sparsity": value} for value in (2.5, -2.5, float("nan"), True, "1")),
            *({"max_scale": value} for value in (0.0, True, "1")),
        ),
        no_effect=(Mistake("no strength", lambda trial: None, "strength=0", arguments={"strength": 0.0}),),
        mistakes=(NO_SCALE,),
        not_applicable=NORMALIZED,
    ),
    Case(
        cls=keras_reg.callbacks.SparsityMask,
        kind="callback",
        mechanism="objective term",
        layer=normalization,
        arguments={"mask_epoch": 1, "strength": 0.05, "threshold": 0.3},
        configurations=(
            {
                "mask_epoch": 3,
                "strength": 0.5,
                "threshold": 0.5,
                "kind": "l2",
                "include": "a*",
                "exclude": ["b", "c*"],
                "save_memory": False,
            },
        ),
        other_arguments={"strength": 2.0, "mask_epoch": 0},
        half_precision={"threshold": 18.0},
        state=lambda method: {f"mask {index}": mask for index, mask in enumerate(method.masks)},
        terms=("mask_sparsity",),
        golden=("tests/ops/test_mask_sparsity.py::test_mask_sparsity_penalty_matches_golden_loss_and_gradient",),
        reference={"loss": 1.353756, "mask_sparsity": 0.01962851, "weights": 15.80371, "mask 0": 2.0},
        wrong_arguments=(
            *WRONG_SCALE_ARGUMENTS,
            *({"mask_epoch": value} for value in (-1, 1.5, True, "1", None)),
            *({"threshold": value} for value in (-1.0, True, "0")),
            *({"kind": value} for value in ("l3", None)),
            *({"save_memory": value} for value in (1, "no")),
        ),
        not_applicable={**NORMALIZED, "state_changes_in_every_epoch": "the mask is made only once; tests/callbacks"},
    ),
    Case(
        cls=keras_reg.callbacks.RegularizationReport,
        kind="callback",
        mechanism="measurement",
        arguments={},
        configurations=({"zero_threshold": 0.5, "every_n_epochs": 3},),
        wrong_arguments=(
            *({"zero_threshold": value} for value in (-0.1, True, "0")),
            *({"every_n_epochs": value} for value in (0, 1.5, True, "1")),
        ),
        not_applicable=dict.fromkeys(
            set(load_all()) - {"config_round_trip", "registered_for_serialization", "wrong_arguments_raise"},
            "it measures training and does not change it: tests/callbacks/test_regularization_report.py",
        ),
    ),
]
