"""Tests of the group envelope and its proximal step against golden numbers, certificates and a search."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.group_envelope import group_envelope, proximal_group_envelope, strongest_groups
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches, cases, shares_by_search
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

CASES = cases("wgsef")


@pytest.mark.parametrize("case", CASES)
def test_group_envelope_matches_golden_loss_and_gradient(case, floatx):
    weights, factors, k = (GOLDEN[f"wgsef.{case}.{name}"] for name in ("W", "d", "k"))
    loss, gradient = GOLDEN[f"wgsef.{case}.value"], GOLDEN[f"wgsef.{case}.grad"]

    def penalty(w):
        return group_envelope(w, int(k), axis=0, factors=factors.astype(floatx))

    assert_matches(penalty, weights, loss, gradient, floatx)


@pytest.mark.parametrize("strength", ["0.1", "1", "5"])
@pytest.mark.parametrize("case", CASES)
def test_proximal_step_matches_golden_loss_and_gradient(case, strength, floatx):
    weights, factors, k = (GOLDEN[f"wgsef.{case}.{name}"] for name in ("W", "d", "k"))
    step = proximal_group_envelope(weights.astype(floatx), int(k), float(strength), 0, factors.astype(floatx))
    got = ops.convert_to_numpy(step)
    assert got.dtype == floatx
    expected = GOLDEN[f"wgsef.{case}.prox_lam{strength}.x"]
    np.testing.assert_allclose(got, expected, **TOLERANCE[floatx])
    np.testing.assert_array_equal(got == 0, np.abs(expected) < 1e-12)  # The authors' zeros have rounding errors.
    # At the minimum, strength * gradient of the envelope at x, plus x - v, is 0 in the groups that remain.
    _, gradient = value_and_gradient(lambda w: group_envelope(w, int(k), 0, factors.astype(floatx)), got, True)
    remaining = np.abs(expected).max(axis=1) > 1e-12
    loose = {"rtol": 1e-8, "atol": 1e-8} if floatx == "float64" else {"rtol": 1e-3, "atol": 1e-4}
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose((got + float(strength) * gradient)[remaining], weights[remaining], **loose)


@ON_TORCH
@pytest.mark.parametrize(("groups", "k", "seed"), [*itertools.product([3, 8, 40], [1, 2], range(3)), (64, 30, 0)])
def test_group_envelope_equals_search_over_shares(groups, k, seed, floatx):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(5, groups)) * np.exp(2 * rng.normal(size=groups))
    norms = np.linalg.norm(weights, axis=0)
    shares = shares_by_search(norms, k)
    assert_matches(lambda w: group_envelope(w, k), weights, 0.5 * np.sum(norms**2 / shares), weights / shares, floatx)


@ON_TORCH
@pytest.mark.parametrize("strength", [0.01, 0.3, 20.0])
@pytest.mark.parametrize("seed", range(3))
def test_proximal_step_has_vanishing_gradient(strength, seed, floatx):
    """Checks x + strength * s = v, with s the gradient for remaining groups and a shorter vector for the others."""
    weights = np.random.default_rng(seed).normal(size=(6, 12))
    x = ops.convert_to_numpy(proximal_group_envelope(weights.astype(floatx), 4, strength)).astype(floatx)
    remaining = np.linalg.norm(x, axis=0) > 0
    assert remaining.sum() >= 4
    _, gradient = value_and_gradient(lambda w: group_envelope(w, 4), x, compiled=True)
    tolerance = {"rtol": 1e-3, "atol": 1e-3} if floatx == "float32" else {"rtol": 1e-6, "atol": 1e-6}
    np.testing.assert_allclose((x + strength * gradient)[:, remaining], weights[:, remaining], **tolerance)
    longest = np.linalg.norm(gradient[:, remaining], axis=0).min()
    assert (np.linalg.norm(weights[:, ~remaining], axis=0) <= strength * longest * 1.01).all()


@ON_TORCH
@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("zeros", [1, 3, 4])
def test_group_envelope_is_finite_for_zero_groups(k, zeros):
    weights = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    weights[:, :zeros] = 0.0
    value, gradient = value_and_gradient(lambda w: group_envelope(w, k), weights, compiled=True)
    assert np.isfinite(value)
    assert not gradient[:, :zeros].any()
    if k >= 4 - zeros:  # With at most k nonzero groups, the envelope is weight decay.
        np.testing.assert_allclose(value, 0.5 * np.sum(weights**2), rtol=1e-6)
        np.testing.assert_allclose(gradient, weights, rtol=1e-6)
    step = ops.convert_to_numpy(proximal_group_envelope(weights, k, 0.5))
    assert np.isfinite(step).all()
    if k >= 4 - zeros:
        np.testing.assert_allclose(step, weights / 1.5, rtol=1e-6)


def test_group_envelope_handles_ties_and_extreme_sizes():
    equal = np.ones((2, 6), "float32")
    value, gradient = value_and_gradient(lambda w: group_envelope(w, 3), equal, compiled=True)
    np.testing.assert_allclose(value, 0.5 * 6 * 2 / 0.5, rtol=1e-6)
    np.testing.assert_allclose(gradient, equal / 0.5, rtol=1e-6)
    wide = np.float32([[1e-12, 1e-6, 1.0, 1e4, 1e6]])
    value, gradient = value_and_gradient(lambda w: group_envelope(w, 2), wide, compiled=True)
    shares = shares_by_search(wide[0].astype("float64"), 2)
    np.testing.assert_allclose(gradient[0], wide[0] / shares, rtol=1e-4)


@NOT_ON_JAX
def test_group_envelope_accepts_axes_and_types():
    kernel = np.random.default_rng(0).normal(size=(3, 3, 2, 5)).astype("float32")
    value, _ = value_and_gradient(lambda w: group_envelope(w, 2), kernel)
    moved, _ = value_and_gradient(lambda w: group_envelope(w, 2, axis=1), np.moveaxis(kernel, -1, 1).copy())
    np.testing.assert_allclose(value, moved, rtol=1e-6)
    step = proximal_group_envelope(kernel.astype("float16"), 2, 0.5)
    assert ops.convert_to_numpy(step).dtype == "float16"
    np.testing.assert_array_equal(ops.convert_to_numpy(proximal_group_envelope(kernel, 2, 0.0)), kernel)
    for function in (group_envelope, lambda w, k, axis: proximal_group_envelope(w, k, 0.5, axis)):
        with pytest.raises(ValueError, match="Received: axis=4"):
            function(kernel, 2, axis=4)


@pytest.mark.parametrize(("axis", "kept"), [(-1, 2), (0, 2), (1, 1)])
def test_strongest_groups_have_largest_norms(axis, kept):
    weights = np.random.default_rng(5).normal(size=(3, 4, 5)).astype("float32")
    norms = np.sqrt((weights**2).sum(axis=tuple({0, 1, 2} - {axis % 3})))
    got = ops.convert_to_numpy(strongest_groups(weights, kept, axis))
    is_kept = np.isin(np.arange(len(norms)), np.argsort(-norms)[:kept])
    np.testing.assert_array_equal(
        got, np.where(is_kept.reshape([-1 if a == axis % 3 else 1 for a in range(3)]), weights, 0)
    )
    np.testing.assert_array_equal(ops.convert_to_numpy(strongest_groups(weights, 7, axis)), weights)
