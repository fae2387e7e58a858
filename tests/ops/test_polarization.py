"""Tests of polarization against golden numbers and its minimum, and of the threshold against the authors' code."""

from __future__ import annotations

import numpy as np
import pytest

from keras_reg.ops import polarization_penalty
from keras_reg.ops.polarization import polarization_threshold
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches
from tests.support.gradients import value_and_gradient


def test_polarization_penalty_matches_golden_loss_and_gradient(floatx):
    case = {key: GOLDEN[f"polarization.polarization.{key}"] for key in ("g0", "g1", "lbd", "t", "value")}
    gradient = np.concatenate([GOLDEN[f"polarization.polarization.grad{index}"] for index in (0, 1)])
    scales, strength = np.concatenate([case["g0"], case["g1"]]), float(case["lbd"])
    assert_matches(
        lambda g: strength * polarization_penalty(g, float(case["t"])), scales, case["value"], gradient, floatx
    )


@pytest.mark.parametrize("sparsity", [1.0, 1.4])
def test_polarization_penalty_is_minimal_for_two_values(sparsity):
    """Checks that the share 1/2 - t/4 of ones is best, and that values between 0 and 1 are worse."""

    def value(scales):
        return float(polarization_penalty(np.asarray(scales, "float32"), sparsity))

    polarized = [value(np.arange(40) < ones) for ones in range(41)]
    assert abs(int(np.argmin(polarized)) - 40 * (0.5 - sparsity / 4)) <= 0.5
    others = np.random.default_rng(0).beta(0.2, 0.5, size=(200, 40))
    assert min(polarized) < min(value(scales) for scales in others)


def test_polarization_penalty_of_zero_scales_has_gradient_of_mean(floatx):
    """Checks that sign(0) is 0, which leaves the gradient through the mean and the distance to it."""
    value, gradient = value_and_gradient(lambda g: polarization_penalty(g, 1.2), np.array([0.0, 0.0, 1.0], floatx))
    np.testing.assert_allclose(value, 1.2 - 4 / 3, **TOLERANCE[floatx])
    through_the_mean = (1 - 2) / 3
    expected = np.array([1.0, 1.0, 1.2 - 1.0]) + through_the_mean
    np.testing.assert_allclose(gradient, expected, **TOLERANCE[floatx])


def test_polarization_threshold_matches_golden_value():
    assert polarization_threshold(GOLDEN["polarization.threshold.w"]) == pytest.approx(
        float(GOLDEN["polarization.threshold.grad"])
    )
    assert polarization_threshold(-GOLDEN["polarization.threshold.w"]) == pytest.approx(0.06)


def test_polarization_threshold_without_valley_is_zero():
    assert polarization_threshold(np.repeat(np.linspace(0.005, 0.995, 100), np.arange(1, 101))) == 0.0
