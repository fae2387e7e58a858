"""The case of trained rank pruning, for `cases.py`."""

from __future__ import annotations

import keras
import numpy as np

import keras_reg
from tests.conformance.case import Case, Mistake, Trial


def simulate_rank_pruning(arguments, kernel, bias, batches, learning_rate):
    """Trained rank pruning as written in the paper, with cross-entropy; gradients by hand."""
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
        arguments={"every_n_steps": 2, "energy": 0.85},
        configurations=(
            {"every_n_steps": 3, "energy": 0.5, "split": "spatial", "include": "dense*", "exclude": ["head", "*/last"]},
        ),
        other_arguments={"energy": 0.4},
        golden=("tests/ops/test_low_rank.py::test_truncate_rank_matches_golden_gradient_of_nuclear_loss",),
        simulate=simulate_rank_pruning,
        reference={"loss": 1.214922, "weights": 8.617846},
        wrong_arguments=(
            {"every_n_steps": 0},
            {"every_n_steps": 2.5},
            {"every_n_steps": True},
            {"energy": 0.0},
            {"energy": 1.0},
            {"energy": float("nan")},
            {"energy": "most"},
            {"split": "depth"},
            {"include": 3},
            {"exclude": [3]},
        ),
        no_effect=(
            Mistake("nothing matches", unchanged, "include='conv*'", {"include": "conv*"}),
            Mistake("a class of layers that have no kernel", unchanged, "include=", {"include": keras.layers.ReLU}),
        ),
    )
]
