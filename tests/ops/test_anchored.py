"""Tests of the pull towards an anchor against a step of published code and the formula."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from keras_reg.ops.anchored import anchored_penalty
from tests.support.golden import TOLERANCE, assert_matches, numeric_gradient
from tests.support.gradients import value_and_gradient

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "anchors.npz", allow_pickle=False)


def entropy_gradient(x, weights, margin):
    """Returns the other part of EATA's golden step: the gradient of the sum over sure samples of exp(margin - H) H.

    The factor exp(margin - H) is held constant.
    """
    p = np.exp(x @ weights)
    p /= p.sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1)
    sure = entropy < margin
    of_logits = -p * (np.log(p) + entropy[:, None]) * (np.exp(margin - entropy) * sure)[:, None] / sure.sum()
    return x.T @ of_logits


def test_anchored_penalty_matches_golden_loss_and_gradient(floatx):
    weights, anchor, fisher = (GOLDEN[f"eata.{name}"] for name in ("W", "W_anchor", "fisher"))
    step = (weights - GOLDEN["eata.W_after"]) / GOLDEN["eata.lr"]
    gradient = step - entropy_gradient(GOLDEN["eata.x"], weights, GOLDEN["eata.e_margin"])
    loss = GOLDEN["eata.alpha"] * np.sum(fisher * (weights - anchor) ** 2)  # The authors' loss has no factor 1/2.
    strength = 2 * float(GOLDEN["eata.alpha"])
    assert_matches(
        lambda w: strength * anchored_penalty(w, anchor.astype(floatx), fisher.astype(floatx)),
        *(weights, loss, gradient, floatx),
    )


@pytest.mark.parametrize("important", [False, True])
def test_anchored_penalty_equals_formula(important, floatx):
    rng = np.random.default_rng(0)
    weights, anchor, fisher = rng.normal(size=(3, 2, 4, 3))
    factor = np.abs(fisher) if important else np.ones_like(fisher)

    def formula(w):
        return 0.5 * np.sum(factor * (w - anchor) ** 2)

    arrays = anchor.astype(floatx), factor.astype(floatx) if important else None
    value, gradient = value_and_gradient(lambda w: anchored_penalty(w, *arrays), weights.astype(floatx), compiled=True)
    np.testing.assert_allclose(value, formula(weights), **TOLERANCE[floatx])
    np.testing.assert_allclose(gradient, numeric_gradient(formula, weights), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, factor * (weights - anchor), **TOLERANCE[floatx])


def test_anchored_penalty_is_zero_at_anchor():
    weights = np.full((3, 2), 7.0, "float32")
    value, gradient = value_and_gradient(lambda w: anchored_penalty(w, weights), weights)
    assert value == 0.0
    assert not gradient.any()


def test_anchored_penalty_squares_16_bit_weights_in_float32():
    weights = np.full((300,), 100.0, "float16")
    value, _ = value_and_gradient(lambda w: anchored_penalty(w, np.zeros(300, "float32")), weights)
    assert value == 1.5e6
