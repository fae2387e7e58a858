"""Tests of the activation terms against golden numbers and formulas."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_reg.ops import attention_entropy, cauchy_schwarz_information, dispersive_loss
from keras_reg.ops.attention_entropy import entropy_deviation_penalty
from tests.support.golden import TOLERANCE, numeric_gradient
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "activations.npz", allow_pickle=False)
numpy = keras.ops.convert_to_numpy


def assert_matches_golden(function, x, loss, gradient, dtype, **tolerance):
    """Checks value and gradient, compiled by XLA in float32."""
    got = value_and_gradient(function, np.asarray(x, dtype), dtype == "float32")
    for result, expected in zip(got, (loss, gradient), strict=True):
        assert result.dtype == dtype
        np.testing.assert_allclose(result, expected, **{**TOLERANCE[dtype], **tolerance})


@pytest.mark.parametrize(
    ("case", "arguments"),
    [
        ("official_l2", {"temperature": 1.0}),
        ("formula_l2_tau0.5", {}),
        ("formula_cos_tau0.5", {"kind": "cosine"}),
        ("formula_hinge_eps3", {"kind": "hinge", "margin": 3.0}),
        ("formula_cov_l2norm", {"kind": "covariance"}),
    ],
)
def test_dispersive_loss_matches_golden_loss_and_gradient(case, arguments, floatx):
    loss, gradient = GOLDEN[f"dispersive.{case}.value"], GOLDEN[f"dispersive.{case}.grad"]
    z = GOLDEN["dispersive.official_l2.z"]
    assert_matches_golden(lambda z: dispersive_loss(z, **arguments), z, loss, gradient, floatx)


@NOT_ON_JAX
@pytest.mark.parametrize("kind", ["l2", "cosine", "hinge", "covariance"])
def test_dispersive_losses_accept_any_shape_and_ignore_origin(kind):
    z = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("float32")
    value, gradient = value_and_gradient(lambda z: dispersive_loss(z, kind, margin=2.0), z)
    assert gradient.shape == z.shape
    assert np.abs(gradient).max() > 1e-3
    flat = float(dispersive_loss(z.reshape(5, 6), kind, margin=2.0))
    np.testing.assert_allclose(flat, value, rtol=1e-6)
    if kind in ("l2", "hinge"):
        np.testing.assert_allclose(float(dispersive_loss(z + 1000, kind, margin=2.0)), value, rtol=1e-3)


@ON_TORCH
@pytest.mark.parametrize("kind", ["l2", "cosine", "hinge", "covariance"])
@pytest.mark.parametrize("z", [np.zeros((3, 4)), np.ones((1, 4)), np.full((2, 3), 1e4)])
def test_dispersive_losses_are_finite_for_extreme_inputs(kind, z):
    """Checks equal samples, which have no direction to move apart, a batch of one, and large numbers."""
    value, gradient = value_and_gradient(lambda z: dispersive_loss(z, kind), z.astype("float32"), compiled=True)
    assert np.isfinite([value, *gradient.ravel()]).all()
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_negative_entropy_matches_golden_loss_and_gradient(floatx):
    """Compares the authors' loss of one bag, the mean over heads of sum(p log p)."""
    loss, gradient = GOLDEN["aem.mha.value"], GOLDEN["aem.mha.grad"]
    logits = GOLDEN["aem.mha.logits"]
    assert_matches_golden(lambda z: -keras.ops.sum(attention_entropy(z, True)) / 3, logits, loss, gradient, floatx)
    assert_matches_golden(
        lambda z: -keras.ops.sum(attention_entropy(keras.ops.softmax(z))) / 3,
        *(logits, loss, gradient, floatx),
        rtol=1e-5,
        atol=1e-7,  # To probabilities, 1e-9 is added inside of the logarithm.
    )


def test_entropy_guided_term_matches_golden_loss_and_gradient(floatx):
    """Compares the authors' loss of two layers, a sum over batch and queries, and a mean over heads and layers."""
    logits, thresholds = (GOLDEN[f"entropy_guided.case.{name}"].astype(floatx) for name in ("logits", "thr"))
    causal = np.where(np.tril(np.ones(logits.shape[-2:])) > 0, 0.0, -1e9).astype(floatx)

    def loss(logits, thresholds):
        # From Keras 3.16 on, `ops.add` computes in float32 on PyTorch.
        entropy = attention_entropy(keras.ops.softmax(logits + keras.ops.convert_to_tensor(causal)))
        largest = float(np.log(logits.shape[-1]))
        return keras.ops.sum(entropy_deviation_penalty(entropy, largest, keras.ops.expand_dims(thresholds, 1))) / 6

    value, by_logits, by_thresholds = (
        GOLDEN[f"entropy_guided.case.{name}"] for name in ("value", "grad_logits", "grad_thr")
    )
    assert_matches_golden(lambda z: loss(z, thresholds), logits, value, by_logits, floatx)
    logits = keras.ops.convert_to_tensor(logits)
    assert_matches_golden(lambda t: loss(logits, t), thresholds, value, by_thresholds, floatx)


@NOT_ON_JAX
def test_attention_entropy_treats_masked_scores_as_zero_weights():
    scores = np.array([[0.5, 0.0, -np.inf], [0.0, -np.inf, -np.inf]], "float32")
    value, gradient = value_and_gradient(lambda s: keras.ops.sum(attention_entropy(s, from_logits=True)), scores)
    expected, by_seen = value_and_gradient(
        lambda s: keras.ops.sum(attention_entropy(s, from_logits=True)), scores[:1, :2]
    )
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, np.pad(by_seen, ((0, 1), (0, 1))), atol=1e-7)


def test_attention_entropy_of_one_hot_attention_is_finite():
    for attention, from_logits in ((np.eye(3), False), (1e5 * np.eye(3), True)):
        value, gradient = value_and_gradient(
            lambda p, from_logits=from_logits: keras.ops.sum(attention_entropy(p, from_logits)),
            attention.astype("float32"),
        )
        assert value == pytest.approx(0.0, abs=1e-6)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("normalized", [False, True])
def test_cauchy_schwarz_information_matches_golden_loss_and_gradient(normalized, floatx):
    """Compares the information in bits, as in the authors' code. Their normalized form is a combination of ours."""
    x, t, sigma = (GOLDEN[f"cs.data.{name}"] for name in ("x", "t", "sigma"))
    key = "qmi_norm" if normalized else "qmi"

    def loss(t):
        def information(a, b):
            return cauchy_schwarz_information(a, b, float(sigma), float(sigma))

        if not normalized:
            return information(x.astype(floatx), t) / float(np.log(2))
        both = information(x.astype(floatx), x.astype(floatx)) * information(t, t)
        return information(x.astype(floatx), t) / keras.ops.sqrt(both)

    assert_matches_golden(loss, t, GOLDEN[f"cs.{key}.value"], GOLDEN[f"cs.{key}.grad_t"], floatx)


def test_cauchy_schwarz_information_of_independent_kernels_is_zero():
    """Uses four samples in two pairs each. K and Q see different pairs, independently of each other."""
    x, t = np.array([[0.0], [0], [50], [50]]), np.array([[0.0], [50], [0], [50]])
    assert float(cauchy_schwarz_information(x, t)) == pytest.approx(0.0, abs=1e-6)
    assert float(cauchy_schwarz_information(x, x)) == pytest.approx(np.log(2), rel=1e-5)


def test_cauchy_schwarz_information_equals_formula():
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(6, 2, 2)), rng.normal(size=(6, 3))

    def formula(t):
        k, q = (
            np.exp(-np.sum((rows[:, None] - rows[None]) ** 2, -1) / (2 * width**2))
            for rows, width in ((x.reshape(6, 4), 1.5), (t, 0.7))
        )
        joint, cross = np.sum(k * q) / 36, np.sum(k.sum(0) * q.sum(0)) / 216
        return np.log(joint) + np.log(k.sum() * q.sum() / 6**4) - 2 * np.log(cross)

    value, gradient = value_and_gradient(
        lambda t: cauchy_schwarz_information(x.astype("float32"), t, 1.5, 0.7), t.astype("float32"), True
    )
    np.testing.assert_allclose(value, formula(t), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradient, numeric_gradient(formula, t), rtol=1e-3, atol=1e-6)
