"""The conformance case of trained rank pruning."""

from __future__ import annotations

import keras
import numpy as np

import keras_reg
from tests.conformance.case import Case, Mistake, Trial


def simulate_rank_pruning(arguments, kernel, bias, batches, learning_rate):
    """Simulates trained rank pruning as in the paper, with cross-entropy."""
    for step, (_, x, y, _, sample_weight) in enumerate(batches):
        if step % arguments["every_n_steps"] == 0:
            left, sigma, right = np.linalg.svd(kernel, full_matrices=False)
            shares = np.cumsum(sigma**2) / np.sum(sigma**2)
            rank = 1 + np.argmax(shares >= arguments["energy"])
            kernel = left[:, :rank] * sigma[:rank] @ right[:rank]
        logits = x @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = (p - np.eye(len(bias))[y]) * sample_weight[:, None] / len(y)
        kernel, bias = kernel - learning_rate * x.T @ gradient, bias - learning_rate * gradient.sum(0)
    return kernel, bias, {}


def unchanged(trial: Trial) -> None:
    pass


RANK_CASES = [
    Case(
        cls=keras_reg.callbacks.TrainedRankPruning,
        kind="callback",
        mechanism="followed step",
        arguments={"energy": 0.85, "every_n_steps": 2},
        configurations=(
            {"every_n_steps": 3, "energy": 0.5, "split": "spatial", "include": "dense*", "exclude": ["head", "*/last"]},
        ),
        other_arguments={"energy": 0.4},
        golden=("tests/ops/test_low_rank.py::test_truncate_rank_matches_golden_gradient_of_nuclear_loss",),
        simulate=simulate_rank_pruning,
        reference={"loss": 1.214922, "weights": 8.617846},
        wrong_arguments=(
            *({"energy": value} for value in (0.0, 1.0, float("nan"), True, "most")),
            *({"every_n_steps": value} for value in (0, 2.5, True, "20")),
            *({"split": value} for value in ("depth", None)),
            *({"include": value} for value in (3, True)),
            {"exclude": [3]},
        ),
        no_effect=(
            Mistake("nothing matches", unchanged, "include='conv*'", {"include": "conv*"}),
            Mistake("a class of layers that have no kernel", unchanged, "include=", {"include": keras.layers.ReLU}),
        ),
    )
]
