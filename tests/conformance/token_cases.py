"""Conformance cases of regularization tokens, and of T-JEPA for tables."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import keras_reg
from tests.conformance.case import HIDDEN, Case
from tests.conformance.rules import load_all

ALSO_IN_INFERENCE = dict.fromkeys(
    ("validation_during_fit_is_plain", "evaluation_after_fit_is_plain"),
    "it is part of the model in inference too, so there is no model without it",
)
#: The rules about variables and state, which a layer without them cannot break.
WITHOUT_WEIGHTS = dict.fromkeys(
    (
        "resumed_by_backup_and_restore",
        "resumed_from_a_saved_model",
        "same_seed_same_run",
        "two_replicas_equal_one",
        "reading_changes_nothing",
        "a_ragged_last_batch_is_traced_once",
    ),
    "it is a slice without weights or state",
)


def make_sequences() -> keras.layers.Layer:
    return keras.layers.Reshape((3, HIDDEN // 3), name="sequences")


def flatten() -> keras.layers.Layer:
    return keras.layers.Flatten(name="flat")


def make_tokens() -> keras.initializers.Initializer:
    return keras.initializers.Constant(np.linspace(-1, 1, 2 * HIDDEN // 3).reshape(2, -1).astype("float32"))


def exclude_all_but(*rules: str) -> set[str]:
    """Returns the names of all rules except the given ones."""
    return set(load_all()) - set(rules)


MESSAGES = ("config_round_trip", "registered_for_serialization", "wrong_arguments_raise")


def make_tokenizer() -> Any:
    return keras_reg.models.FeatureTokenizer(4, [0, 3, 0])


def make_encoder() -> Any:
    return keras_reg.models.TransformerEncoder(4, num_layers=1, num_heads=2, hidden=8)


def make_predictor() -> Any:
    return keras_reg.models.TransformerEncoder(2, num_layers=1, num_heads=1, hidden=8)


TOKEN_CASES = [
    Case(
        cls=keras_reg.layers.RegularizationTokens,
        kind="layer",
        mechanism="layer with weights",
        before=make_sequences,
        after=flatten,
        arguments={"num_tokens": 2, "initializer": make_tokens},
        configurations=({"num_tokens": 2, "position": "end", "initializer": make_tokens},),
        state=lambda layer: {"tokens": keras.ops.convert_to_numpy(layer.tokens)},
        golden=("tests/models/test_golden.py::test_tabular_jepa_step_matches_golden_loss_and_gradients",),
        reference={"loss": 0.9186804, "weights": 11.79185, "tokens": 2.445594},
        wrong_arguments=(
            {"num_tokens": 0},
            {"num_tokens": 1.5},
            {"num_tokens": True},
            {"num_tokens": "1"},
            {"position": "middle"},
            {"position": 0},
            {"position": None},
        ),
        not_applicable=ALSO_IN_INFERENCE,
    ),
    Case(
        cls=keras_reg.layers.DropTokens,
        kind="layer",
        mechanism="layer with weights",
        before=make_sequences,
        after=flatten,
        arguments={},
        configurations=({"num_tokens": 2, "position": "end"},),
        golden=("tests/models/test_golden.py::test_tabular_jepa_step_matches_golden_loss_and_gradients",),
        wrong_arguments=(
            {"num_tokens": 0},
            {"num_tokens": 1.5},
            {"num_tokens": True},
            {"num_tokens": "1"},
            {"position": "middle"},
            {"position": None},
        ),
        not_applicable={**ALSO_IN_INFERENCE, **WITHOUT_WEIGHTS},
    ),
    Case(
        cls=keras_reg.callbacks.CollapseMonitor,
        kind="callback",
        mechanism="measurement",
        arguments={"layer_or_function": None, "data": [0, 1]},
        configurations=(
            {"layer_or_function": "hidden", "data": [[0.0], [1.0]], "min_deviation": 0.1, "min_rank": 2.0},
        ),
        wrong_arguments=(
            {"layer_or_function": 3},
            {"layer_or_function": True},
            {"data": [1]},
            {"data": None},
            {"min_deviation": -1.0},
            {"min_deviation": True},
            {"min_deviation": "0.01"},
            {"min_rank": float("nan")},
            {"min_rank": True},
            {"min_rank": "1.5"},
        ),
        not_applicable=dict.fromkeys(
            exclude_all_but(*MESSAGES),
            "it measures training and does not change it: tests/callbacks/test_collapse_monitor.py",
        ),
    ),
    *(
        Case(
            cls=cls,
            kind=kind,
            mechanism="whole model" if kind == "model" else "layer with weights",
            arguments=arguments,
            configurations=configurations,
            golden=("tests/models/test_golden.py::test_tabular_jepa_step_matches_golden_loss_and_gradients",),
            wrong_arguments=wrong,
            not_applicable=dict.fromkeys(exclude_all_but(*MESSAGES, "golden_numbers_are_tested"), reason),
        )
        for cls, kind, arguments, configurations, wrong, reason in (
            (
                keras_reg.models.FeatureTokenizer,
                "layer",
                {"width": 4},
                ({"width": 4, "cardinalities": [0, 3], "type_embedding": True, "index_embedding": True},),
                (
                    {"width": 0},
                    {"width": True},
                    {"width": "4"},
                    {"cardinalities": [0, -1]},
                    {"cardinalities": [0.5]},
                    {"cardinalities": [True]},
                    {"cardinalities": "many"},
                    {"cardinalities": []},
                    {"type_embedding": 1},
                    {"type_embedding": "yes"},
                    {"index_embedding": 1},
                    {"index_embedding": "yes"},
                ),
                "it is part of TabularJEPA, which is trained in tests/models",
            ),
            (
                keras_reg.models.TransformerEncoder,
                "layer",
                {"width": 4, "num_heads": 2},
                ({"width": 4, "num_layers": 1, "num_heads": 2, "hidden": 8, "dropout": 0.0},),
                (
                    {"width": 0},
                    {"width": True},
                    {"width": "4"},
                    {"num_layers": 0},
                    {"num_layers": True},
                    {"num_layers": "1"},
                    {"num_heads": 3},
                    {"num_heads": True},
                    {"num_heads": "2"},
                    {"hidden": 0},
                    {"hidden": True},
                    {"hidden": "8"},
                    {"dropout": 1.0},
                    {"dropout": -0.1},
                    {"dropout": True},
                    {"dropout": "0.1"},
                    {"dropout": float("nan")},
                ),
                "it is part of TabularJEPA, which is trained in tests/models",
            ),
            (
                keras_reg.models.TabularJEPA,
                "model",
                {"tokenizer": make_tokenizer, "encoder": make_encoder, "predictor": make_predictor},
                (
                    {
                        "tokenizer": make_tokenizer,
                        "encoder": make_encoder,
                        "predictor": make_predictor,
                        "num_tokens": 2,
                        "num_targets": 3,
                        "context_share": [0.3, 0.5],
                        "target_share": [0.3, 0.4],
                        "momentum": [0.9, 0.99],
                        "seed": 3,
                    },
                ),
                (
                    {"tokenizer": None},
                    {"encoder": 3},
                    {"predictor": "none"},
                    {"num_tokens": -1},
                    {"num_tokens": 1.5},
                    {"num_tokens": True},
                    {"num_tokens": "1"},
                    {"num_targets": 0},
                    {"num_targets": True},
                    {"num_targets": "4"},
                    {"context_share": (0.4, 0.2)},
                    {"context_share": 0.5},
                    {"context_share": (True, 0.5)},
                    {"target_share": (0.0, 0.2)},
                    {"momentum": (0.9, 1.1)},
                    {"momentum": None},
                    {"momentum": ("0.9", "1")},
                    {"momentum": (False, True)},
                    {"momentum": "01"},
                    {"seed": 1.5},
                    {"seed": True},
                    {"seed": "1"},
                ),
                "it has its own objective and no labels; tests/models checks the same properties",
            ),
        )
    ),
]
