"""Conformance cases of label smoothing and batch mixing with strengths that can change during training."""

from __future__ import annotations

import numpy as np

from keras_reg.callbacks import TunableCutMix, TunableLabelSmoothing, TunableMixup
from keras_reg.tune import Float
from tests.conformance.case import Case, Mistake
from tests.conformance.noise_cases import RANDOM, set_other_loss
from tests.conformance.rules import load_all
from tests.conformance.tunable_cases import NO_STATE, make_float


def simulate_label_smoothing(arguments, kernel, bias, batches, learning_rate):
    """Simulates cross-entropy with the labels (1 - rate) y + rate / C."""
    for _, x, y, _, sample_weight in batches:
        logits = x @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        targets = 0.7 * np.eye(len(bias))[y] + 0.3 / len(bias)
        gradient = (p - targets) * sample_weight[:, None] / len(y)
        kernel, bias = kernel - learning_rate * x.T @ gradient, bias - learning_rate * gradient.sum(0)
    return kernel, bias, {}


NO_GOLDEN = {"golden_numbers_are_tested": "labels in NumPy: tests/callbacks/test_tunable_labels.py"}
WRONG_STRENGTHS = (0.1, None, True, "0.1", Float("strength", 0.1))
WRONG_SEEDS = ({"seed": 1.5}, {"seed": True}, {"seed": "3"})
OTHER_LOSS = Mistake("a loss that is not cross-entropy", set_other_loss, "cross-entropy")

LABEL_CASES = [
    Case(
        cls=TunableLabelSmoothing,
        kind="callback",
        mechanism="rewritten targets",
        arguments={"rate": make_float("rate", 0.3, high=0.9)},
        configurations=({"rate": make_float("other", 0.5, high=1.0), "output": "left"},),
        other_arguments={"rate": make_float("rate", 0.8, high=0.9)},
        terms=("label_smoothing",),
        simulate=simulate_label_smoothing,
        wrong_arguments=(
            *({"rate": value} for value in (*WRONG_STRENGTHS, Float("rate", 0.5, low=0.0, high=2.0))),
            {"output": 3},
            {"output": True},
        ),
        mistakes=(OTHER_LOSS,),
        not_applicable={**NO_GOLDEN, **NO_STATE},
    ),
    Case(
        cls=TunableMixup,
        kind="callback",
        mechanism="rewritten inputs",
        arguments={"alpha": make_float("alpha", 0.5), "seed": 3},
        configurations=({"alpha": make_float("other", 0.5), "seed": 5},),
        other_arguments={"alpha": make_float("alpha", 2.0)},
        terms=("mixup",),
        wrong_arguments=(*({"alpha": value} for value in WRONG_STRENGTHS), *WRONG_SEEDS),
        mistakes=(OTHER_LOSS,),
        not_applicable={
            **NO_STATE,
            **RANDOM,
            "terms_are_logged": "its loss is that of mixed inputs; tests/callbacks/test_tunable_labels.py",
        },
    ),
    Case(
        cls=TunableCutMix,
        kind="callback",
        mechanism="rewritten inputs",
        arguments={"alpha": make_float("alpha", 0.5), "seed": 3},
        configurations=({"alpha": make_float("other", 0.5), "seed": 5},),
        wrong_arguments=(*({"alpha": value} for value in WRONG_STRENGTHS), *WRONG_SEEDS),
        not_applicable=dict.fromkeys(
            set(load_all()) - {"config_round_trip", "registered_for_serialization", "wrong_arguments_raise"},
            "it trains like TunableMixup, on images; tests/callbacks/test_tunable_labels.py",
        ),
    ),
]
