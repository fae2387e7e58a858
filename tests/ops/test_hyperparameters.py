"""Tests of hyperparameters as unconstrained numbers, against golden numbers of the authors' code."""

from __future__ import annotations

import math
import pathlib

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.hyperparameters import bounded, perturbation_entropy, unbounded
from tests.support.golden import TOLERANCE
from tests.support.gradients import value_and_gradient
from tests.support.tiers import ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stn.npz", allow_pickle=False)
FREE = GOLDEN["tf/u"]
# The names of the authors' transforms, and the bounds that give the same functions.
TRANSFORMS = {
    "tf/stn/s_sigmoid/0_0.9": (0.0, 0.9, False),
    "tf/stn/s_sigmoid/0_24": (0.0, 24.0, False),
    "tf/stn/s_sigmoid/2_24": (2.0, 24.0, False),
    "tf/stn/project/lower0": (0.0, None, False),
    "tf/stn/project/free": (None, None, False),
    "tf/delta/linear": (None, None, False),
    "tf/delta/softplus": (0.0, None, False),
    "tf/delta/exp": (0.0, None, True),
    "tf/delta/sigmoid": (0.0, 1.0, False),
    "tf/delta/stretch_sigmoid": (0.0, 0.95, False),
    "tf/delta/lower_bound_softplus": (0.2, None, False),
    "tf/delta/upper_bound_softplus": (None, 2.0, False),
}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_bounded_and_unbounded_match_golden_transforms(name, floatx):
    np.testing.assert_allclose(
        numpy(bounded(FREE.astype(floatx), *TRANSFORMS[name])), GOLDEN[name], **TOLERANCE[floatx]
    )
    back = [unbounded(value, *TRANSFORMS[name]) for value in GOLDEN[name].tolist()]
    np.testing.assert_allclose(back, FREE, rtol=1e-9, atol=1e-9)


def test_bounded_above_mirrors_transform_of_first_paper(floatx):
    """Mirrors the unconstrained number: in the paper the value falls as the number grows, and here it always grows."""
    got = numpy(bounded(2 - FREE.astype(floatx), high=2.0))
    np.testing.assert_allclose(got, GOLDEN["tf/stn/project/upper2"], **TOLERANCE[floatx])


def test_unbounded_matches_golden_first_values():
    """Compares with the authors' first values, which are float32."""
    assert unbounded(0.05, 0.0, 0.9) == pytest.approx(float(GOLDEN["tf/stn/default_drop_u"]), rel=1e-6)
    assert unbounded(0.5, 0.0) == pytest.approx(float(GOLDEN["tf/stn/default_scale_u"]), rel=1e-6)
    assert unbounded(0.05, 0.0, 0.95) == pytest.approx(float(GOLDEN["tf/delta/default_drop_u"]), rel=1e-6)
    assert unbounded(1.0, 0.0) == pytest.approx(float(GOLDEN["tf/delta/default_scale_u"]), rel=1e-6)
    inverse = [unbounded(value, 0.0) for value in GOLDEN["tf/p01"].tolist()]
    np.testing.assert_allclose(inverse, GOLDEN["tf/stn/inv_softplus"], rtol=1e-10)
    np.testing.assert_allclose([unbounded(v, 0.0, 1.0) for v in GOLDEN["tf/p01"]], GOLDEN["tf/stn/logit"], atol=1e-10)


@pytest.mark.parametrize(("low", "high"), [(1e-6, 1e-1), (None, 1e-1), (1e-3, None)])
def test_bounded_with_log_maps_equal_steps_to_equal_factors(low, high):
    """Checks that the logarithm of the value lies between the logarithms of the bounds, on the linear scale."""
    free = np.array([-3.0, 0.0, 2.0])
    value = numpy(bounded(free.astype("float32"), low, high, log=True))
    if high is None:
        expected = low + np.exp(free)
    else:
        expected = np.exp(
            numpy(bounded(free.astype("float32"), None if low is None else math.log(low), math.log(high)))
        )
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose([unbounded(float(v), low, high, log=True) for v in value], free, rtol=2e-4, atol=2e-4)
    assert np.all(value > (low or 0.0))
    assert np.all(value < (high or np.inf))


@ON_TORCH
@pytest.mark.parametrize("name", ["both", "low", "high", "log"])
def test_bounded_has_nonzero_gradients(name, floatx):
    """Compares the gradient with the slope of each formula."""
    share = 1 / (1 + np.exp(-FREE))
    bounds, slope = {
        "both": ((0.0, 0.9, False), 0.9 * share * (1 - share)),
        "low": ((0.2, None, False), share),
        "high": ((None, 2.0, False), 1 / (1 + np.exp(FREE - 2))),
        "log": ((1e-4, 1.0, True), 1e-4 ** (1 - share) * np.log(1e4) * share * (1 - share)),
    }[name]
    _, gradient = value_and_gradient(lambda u: ops.sum(bounded(u, *bounds)), FREE.astype(floatx), compiled=True)
    np.testing.assert_allclose(gradient, slope, **TOLERANCE[floatx])


def test_unbounded_of_large_values_does_not_overflow():
    assert unbounded(800.0, low=0.0) == 800.0
    assert unbounded(-800.0, high=0.0) == -800.0


def test_perturbation_entropy_matches_golden_value_and_gradient(floatx):
    """Compares the gradient for the number whose softplus is the deviation, which the authors tune."""
    scale = GOLDEN["entropy/h_scale"].astype(floatx)
    value, gradient = value_and_gradient(lambda s: perturbation_entropy(ops.softplus(s)), scale, compiled=True)
    np.testing.assert_allclose(value, float(GOLDEN["entropy/value"]), **TOLERANCE[floatx])
    np.testing.assert_allclose(gradient, GOLDEN["entropy/grad"], **TOLERANCE[floatx])
    single = [numpy(perturbation_entropy(sigma[None])) for sigma in GOLDEN["entropy/sigma"].astype(floatx)]
    np.testing.assert_allclose(single, GOLDEN["entropy/per_dim"], **TOLERANCE[floatx])
