"""Conformance cases of layers that return features unchanged and add a term to the loss."""

from __future__ import annotations

from typing import Any

from keras_reg import layers
from tests.conformance.case import Case

STRENGTHS = tuple({"strength": value} for value in (-0.1, float("nan"), float("inf"), "strong", True, None))


def make_case(cls: type, **fields: Any) -> Case:
    return Case(**{"cls": cls, "kind": "layer", "mechanism": "layer with a loss", **fields})


ACTIVATION_CASES = [
    make_case(
        layers.Dispersive,
        arguments={"strength": 0.3},
        configurations=({"strength": 0.1, "kind": "hinge", "temperature": 2.0, "margin": 3.0},),
        golden=("tests/ops/test_activations.py::test_dispersive_loss_matches_golden_loss_and_gradient",),
        reference={"loss": 1.121727, "weights": 9.422236},
        wrong_arguments=(
            *STRENGTHS,
            {"kind": "l1"},
            {"kind": None},
            {"temperature": 0.0},
            {"temperature": None},
            {"temperature": True},
            {"temperature": "0.5"},
            {"margin": -1.0},
            {"margin": True},
            {"margin": "1"},
        ),
    ),
    make_case(
        layers.CauchySchwarzBottleneck,
        arguments={"strength": 0.3, "input_bandwidth": 2.0},
        configurations=({"strength": 0.1, "input_bandwidth": 3.0, "bandwidth": 0.5},),
        sees_inputs=True,
        golden=("tests/ops/test_activations.py::test_cauchy_schwarz_information_matches_golden_loss_and_gradient",),
        reference={"loss": 1.29866, "weights": 9.024256},
        wrong_arguments=(
            *STRENGTHS,
            {"bandwidth": 0.0},
            {"bandwidth": True},
            {"bandwidth": "1"},
            {"input_bandwidth": float("nan")},
            {"input_bandwidth": True},
            {"input_bandwidth": "1"},
        ),
    ),
    make_case(
        layers.AttentionEntropy,
        arguments={"strength": 0.3, "from_logits": True},
        configurations=(
            {
                "strength": 0.2,
                "kind": "threshold",
                "from_logits": True,
                "initial_threshold": 0.7,
                "margin": 0.1,
                "causal": True,
            },
        ),
        golden=(
            "tests/ops/test_activations.py::test_negative_entropy_matches_golden_loss_and_gradient",
            "tests/ops/test_activations.py::test_entropy_guided_term_matches_golden_loss_and_gradient",
        ),
        reference={"loss": 0.7513742, "weights": 9.044443},
        wrong_arguments=(
            *STRENGTHS,
            {"kind": "minimize"},
            {"kind": 1},
            {"from_logits": 1},
            {"from_logits": "no"},
            {"initial_threshold": 1.5},
            {"initial_threshold": True},
            {"initial_threshold": "0.5"},
            {"margin": -0.1},
            {"margin": True},
            {"margin": "0.1"},
            {"causal": "yes"},
            {"causal": 1},
        ),
    ),
]
