"""Tests of the functions of noise masks against a step of the authors' code, with the mask that it drew."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.beta import beta_log_prob
from keras_reg.ops.noise_mask import (
    _axis_matrix,
    expand_mask,
    mask_log_concentrations,
    official_code_term,
    scale_gradient,
    score_function_term,
    update_mask_base,
)
from tests.random.support import compiled, gradients
from tests.support.tiers import ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "noise_mask.npz", allow_pickle=False)
MASK, ALPHA, BETA = (GOLDEN[name] for name in ("mask", "conc_alpha", "conc_beta"))
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


def released_loss(cost: np.ndarray):
    """Returns the authors' loss as a function of the concentrations: the mean cost plus a term."""

    def loss(alpha, beta):
        tensor = ops.convert_to_tensor(cost)
        return ops.mean(tensor) + ops.mean(official_code_term(beta_log_prob(MASK, alpha, beta), tensor))

    return loss


def cross_entropies() -> np.ndarray:
    logits = GOLDEN["logits"].astype("float64")
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return -log_p[np.arange(6), GOLDEN["target"]].astype("float32")


def test_noise_mask_ops_match_golden_loss_and_gradients():
    loss = released_loss(cross_entropies())
    np.testing.assert_allclose(compiled(loss, ALPHA, BETA), GOLDEN["loss"], rtol=1e-6)
    by_alpha, by_beta = gradients(loss, ALPHA, BETA)
    np.testing.assert_allclose(by_alpha, GOLDEN["grad_conc_alpha"], **CLOSE)
    np.testing.assert_allclose(by_beta, GOLDEN["grad_conc_beta"], **CLOSE)
    np.testing.assert_allclose(compiled(beta_log_prob, MASK, ALPHA, BETA), GOLDEN["logp"], rtol=1e-5, atol=5e-6)


def test_expand_mask_matches_golden_enlarged_and_blurred_masks():
    grid = MASK.reshape(6, 4, 4)
    enlarged = compiled(lambda mask: expand_mask(mask, (14, 14), 0.0), grid)
    np.testing.assert_array_equal(enlarged, GOLDEN["mask_up"][:, 0])
    blurred = compiled(lambda mask: expand_mask(mask, (14, 14), 2.0), grid)
    np.testing.assert_allclose(blurred, GOLDEN["mask_blur"][:, 0], rtol=1e-6)
    masked = GOLDEN["image"] * blurred[:, None]
    np.testing.assert_allclose(masked, GOLDEN["masked_image"], **CLOSE)


def test_expand_mask_matches_golden_indices_and_kernels():
    np.testing.assert_array_equal(_axis_matrix(64, 224, 0.0).argmax(1), GOLDEN["nearest_idx_64_224"])
    impulse = np.zeros((1, 41, 41), "float32")
    impulse[0, 20, 20] = 1
    blurred = compiled(lambda image: expand_mask(image, (41, 41), 6.0), impulse)[0, 14:27, 14:27]
    np.testing.assert_allclose(blurred, GOLDEN["blur_impulse_k13_s6"], rtol=1e-5)
    edges = compiled(lambda image: expand_mask(image, (9, 9), 2.0), GOLDEN["blur_edge_in"][:, 0])
    np.testing.assert_allclose(edges, GOLDEN["blur_edge_k5_s2"][:, 0], rtol=1e-6)


def test_expand_mask_accepts_other_ranks_and_shapes():
    rng = np.random.default_rng(0)
    mask = rng.uniform(size=(2, 3, 2)).astype("float32")
    wide = compiled(lambda m: expand_mask(m, (5, 8), 1.0), mask)
    rows = compiled(lambda m: expand_mask(m, (5,), 1.0), mask.transpose(0, 2, 1).reshape(4, 3)).reshape(2, 2, 5)
    both = compiled(lambda m: expand_mask(m, (8,), 1.0), rows.transpose(0, 2, 1).reshape(10, 2)).reshape(2, 5, 8)
    np.testing.assert_allclose(wide, both, rtol=1e-6)
    volume = compiled(lambda m: expand_mask(m, (4, 4, 6), 0.0), rng.uniform(size=(2, 2, 2, 3)))
    assert volume.shape == (2, 4, 4, 6)
    np.testing.assert_array_equal(volume[:, 0], volume[:, 1])


def test_mask_base_and_log_concentrations_match_golden_values():
    """Computes the policy's outputs from the golden concentrations."""
    outputs = (np.log(ALPHA.astype("float64")) - 0.9 * GOLDEN["base_alpha0"]) / 0.1
    mixed = compiled(mask_log_concentrations, GOLDEN["base_alpha0"], outputs)
    np.testing.assert_allclose(np.exp(mixed), ALPHA, **CLOSE)
    after = compiled(update_mask_base, GOLDEN["base_alpha0"], outputs)
    np.testing.assert_allclose(after, GOLDEN["base_alpha1"], rtol=1e-5)
    limited = compiled(lambda b, o: mask_log_concentrations(b, o, log_range=(0.2, 0.6)), GOLDEN["base_alpha0"], outputs)
    np.testing.assert_allclose(limited, np.clip(mixed, 0.2, 0.6))
    by_base, by_outputs = gradients(update_mask_base, GOLDEN["base_alpha0"], outputs.astype("float32"))
    assert not by_base.any()
    assert not by_outputs.any()


def test_score_function_term_has_expected_value_and_gradient():
    rng = np.random.default_rng(0)
    log_prob, cost = rng.normal(size=(4, 5)).astype("float32"), rng.uniform(size=4).astype("float32")
    value = compiled(lambda p, c: score_function_term(p, c, 0.3), log_prob, cost)
    np.testing.assert_allclose(value, (cost - 0.3) * log_prob.mean(1), rtol=1e-5)
    by_log_prob, by_cost = gradients(lambda p, c: score_function_term(p, c, 0.3), log_prob, cost)
    np.testing.assert_allclose(by_log_prob, np.repeat((cost[:, None] - 0.3) / 5, 5, 1), rtol=1e-5)
    assert not by_cost.any(), "the classifier's gradient is not intact"


@ON_TORCH
def test_mean_score_function_term_estimates_gradient_of_mean_cost():
    """Uses one cell whose cost is the mask itself, so that the mean cost is alpha / (alpha + beta)."""
    from keras_reg.random import beta

    alpha, scale = np.array([2.0], "float32"), 200_000

    def term(alpha):
        mask = ops.stop_gradient(beta((scale, 1), alpha, 3.0, seed=1))
        return score_function_term(beta_log_prob(mask, alpha, 3.0), mask[:, 0], 0.4) / scale

    np.testing.assert_allclose(gradients(term, alpha)[0], 3 / 25, rtol=0.02)


def test_scale_gradient_scales_gradients_only():
    x = np.array([1.0, -3.0], "float32")
    np.testing.assert_allclose(compiled(lambda v: scale_gradient(v, 0.1), x), x, rtol=1e-6)
    np.testing.assert_allclose(gradients(lambda v: scale_gradient(v, 0.1) ** 2, x)[0], 0.2 * x, rtol=1e-5)


@pytest.mark.parametrize(
    ("grid", "shape", "sigma", "message"),
    [
        ((9, 4), (8, 8), 1.0, r"smaller `grid`.*Received: grid=\(9, 4\)"),
        ((4,), (8, 8), 1.0, r"smaller `grid`.*Received: grid=\(4,\)"),
        ((4, 4), (8, 8), 8.0, r"smaller `blur_sigma`.*Received: blur_sigma=8.0"),
    ],
)
def test_expand_mask_rejects_bad_grid_and_sigma(grid, shape, sigma, message):
    with pytest.raises(ValueError, match=message):
        expand_mask(keras.ops.ones((1, *grid)), shape, sigma)
