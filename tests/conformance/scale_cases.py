"""The cases of what prunes by the scales of batch normalizations, and of the report, for `cases.py`."""

from __future__ import annotations

import keras

import keras_reg
from tests.conformance.case import Case, Mistake
from tests.conformance.regularizer_cases import OF_A_VARIANT, STRENGTHS
from tests.conformance.rules import load_all

NORMALIZED = {
    "terms_are_logged": "the loss under the statistics of a batch is not that of inference; tests/callbacks",
    "training_equals_a_simulation": "it has one for models without batch normalization; tests/callbacks",
}


def normalization() -> keras.Layer:
    """The statistics of the whole batch on two replicas too; JAX has no others."""
    return keras.layers.BatchNormalization(synchronized=keras.backend.backend() == "tensorflow")


NO_SCALE = Mistake(
    "names of no batch normalization", lambda trial: None, "no batch normalization", arguments={"include": "conv*"}
)
WRONG_NAMES = ({"include": 3}, {"exclude": [keras.layers.Dense]}, {"strength": -1.0}, {"strength": "1"})

#: For the kernel of the first dense layer, which stands for a scale.
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
        wrong_arguments=(*STRENGTHS, {"mask": [0, 2]}, {"mask": "all"}, {"threshold": -1.0}, {"kind": "l3"}),
        not_applicable=dict.fromkeys(
            set(load_all()) - {*OF_A_VARIANT, "config_round_trip", "registered_for_serialization"}
            | {"training_equals_a_simulation"},
            "a function of a weight as NuclearNorm, which stands for these rules; its mask fits one kernel",
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
        wrong_arguments=(*WRONG_NAMES, {"sparsity": 2.5}, {"sparsity": "1"}, {"max_scale": 0.0}),
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
        wrong_arguments=(*WRONG_NAMES, {"mask_epoch": -1}, {"mask_epoch": 1.5}, {"threshold": -1.0}, {"kind": "l3"}),
        not_applicable={**NORMALIZED, "state_changes_in_every_epoch": "the mask is made once; tests/callbacks"},
    ),
    Case(
        cls=keras_reg.callbacks.RegularizationReport,
        kind="callback",
        mechanism="measurement",
        arguments={},
        configurations=({"zero": 0.5, "every_n_epochs": 3},),
        wrong_arguments=({"zero": -0.1}, {"zero": "0"}, {"every_n_epochs": 0}, {"every_n_epochs": 1.5}),
        not_applicable=dict.fromkeys(
            set(load_all()) - {"config_round_trip", "registered_for_serialization", "wrong_arguments_raise"},
            "it measures training and does not change it: tests/callbacks/test_regularization_report.py",
        ),
    ),
]
