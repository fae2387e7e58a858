"""Tests of calibration error and risk-coverage area against the authors' numbers and derivations in NumPy."""

from __future__ import annotations

import itertools
import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.calibration import (
    area_under_risk_coverage,
    binned_area_under_risk_coverage,
    calibration_bins,
    calibration_error,
    confidence_log_odds,
    risk_coverage_bins,
)
from tests.support.tiers import NOT_ON_JAX

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "pskd.npz", allow_pickle=False)
BACKEND = keras.backend.backend()
#: JAX computes in float32 here, and on PyTorch `segment_sum` of Keras sums float64 in float32.
RTOL = {"jax": 1e-5, "torch": 1e-6}.get(BACKEND, 1e-10)


def golden() -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = GOLDEN["metric/confidences"], GOLDEN["metric/labels"]
    if BACKEND == "jax":
        probabilities = probabilities.astype("float32")
    return probabilities.max(1), (probabilities.argmax(1) == labels).astype(probabilities.dtype)


def area_by_hand(confidence, correct):
    """Computes the area for each order of samples of the same confidence, and returns the mean."""
    groups = [np.flatnonzero(confidence == c) for c in sorted(set(confidence), reverse=True)]
    areas = []
    for orders in itertools.product(*(itertools.permutations(group) for group in groups)):
        wrong = 1 - np.asarray(correct, float)[[i for order in orders for i in order]]
        areas.append(np.mean(np.cumsum(wrong) / np.arange(1, len(wrong) + 1)))
    return np.mean(areas)


def compiled(function):
    """Returns the function compiled by the backend, with XLA on TensorFlow and JAX."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(function)
    return function


def number(tensor) -> float:
    return float(ops.convert_to_numpy(tensor))


def test_calibration_error_matches_golden_value():
    bins = calibration_bins(*golden())
    np.testing.assert_allclose(100 * number(calibration_error(bins)), GOLDEN["metric/ece_percent"], rtol=RTOL)
    np.testing.assert_allclose(GOLDEN["metric/ece_percent"], 21.571238, atol=5e-7)


def test_area_under_risk_coverage_matches_golden_values():
    area, excess = area_under_risk_coverage(*golden()), area_under_risk_coverage(*golden(), excess=True)
    np.testing.assert_allclose(1000 * number(area), GOLDEN["metric/aurc_x1000"], rtol=RTOL)
    np.testing.assert_allclose(1000 * number(excess), GOLDEN["metric/eaurc_x1000"], rtol=RTOL)
    np.testing.assert_allclose(1000 * number(excess), 315.575465, rtol=max(RTOL, 1e-8))
    error_rate = 1 - golden()[1].mean()
    approximation = number(area) - (error_rate + (1 - error_rate) * np.log(1 - error_rate))
    assert not np.isclose(1000 * approximation, GOLDEN["metric/eaurc_x1000"], rtol=1e-3)


def test_calibration_bins_contain_upper_edge():
    confidence = np.array([0.0, 0.3, np.nextafter(np.float32(0.3), np.float32(1)), 0.7, 1.0, 1.0000001], "float32")
    bins = ops.convert_to_numpy(calibration_bins(confidence, np.ones(6)))
    np.testing.assert_array_equal(bins[:, 0], [1, 0, 1, 1, 0, 0, 1, 0, 0, 2])
    np.testing.assert_array_equal(bins[:, 0], bins[:, 2])


@NOT_ON_JAX
@pytest.mark.parametrize("num_bins", [1, 7, 10, 15, 100])
def test_calibration_bins_assign_every_edge_to_bin_below(num_bins):
    edges = np.linspace(0, 1, num_bins + 1)[1:].astype("float32")
    above = np.nextafter(edges[:-1], np.float32(1))
    at = ops.convert_to_numpy(calibration_bins(edges, np.ones_like(edges), num_bins))[:, 0]
    np.testing.assert_array_equal(at, np.ones(num_bins))
    after = ops.convert_to_numpy(calibration_bins(above, np.ones_like(above), num_bins))[:, 0]
    np.testing.assert_array_equal(after, np.r_[0, np.ones(num_bins - 1)])


def test_calibration_error_matches_manual_value():
    confidence = np.array([0.95, 0.91, 0.55, 0.51, 0.52], "float32")
    bins = calibration_bins(confidence, np.array([1, 0, 1, 0, 0]))
    # The highest bin has |1.86 - 1| and the sixth bin |1.58 - 1|.
    np.testing.assert_allclose(number(calibration_error(bins)), (0.86 + 0.58) / 5, rtol=1e-6)
    # In a single bin, too much and too little confidence cancel: |3.44 - 2|.
    error = calibration_error(calibration_bins(confidence, np.array([1, 0, 1, 0, 0]), 1))
    np.testing.assert_allclose(number(error), (3.44 - 2) / 5, rtol=1e-6)


@NOT_ON_JAX
def test_calibration_weights_act_as_copies_and_zero_excludes_nan():
    confidence, correct = np.array([0.9, 0.6, 0.2], "float32"), np.array([1.0, 0.0, 1.0], "float32")
    copies = [0, 0, 1, 2, 2, 2]
    for function in (calibration_bins, risk_coverage_bins):
        expected = ops.convert_to_numpy(function(confidence[copies], correct[copies]))
        got = ops.convert_to_numpy(function(confidence, correct, weights=np.array([2, 1, 3])))
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        bad = np.append(confidence, np.nan).astype("float32"), np.append(correct, np.nan).astype("float32")
        got = ops.convert_to_numpy(function(*bad, weights=np.array([2.0, 1.0, 3.0, 0.0])))
        np.testing.assert_allclose(got, expected, rtol=1e-6)
        assert np.isnan(ops.convert_to_numpy(function(*bad))).any()


def test_calibration_measures_of_no_samples_are_zero():
    assert number(calibration_error(np.zeros((10, 3), "float32"))) == 0
    assert number(binned_area_under_risk_coverage(np.zeros((10, 2), "float32"))) == 0
    assert number(binned_area_under_risk_coverage(np.zeros((10, 2), "float32"), excess=True)) == 0


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("confidence", "correct", "area", "excess"),
    [
        ([0.9, 0.8, 0.7], [1, 0, 1], 5 / 18, 5 / 18 - 1 / 9),
        ([0.7, 0.9, 0.8], [0, 1, 1], 1 / 9, 0.0),  # This is a perfect ranking in a different order.
        ([0.2, 0.9], [1, 0], 3 / 4, 3 / 4 - 1 / 4),
        ([0.5, 0.4], [0, 0], 1.0, 0.0),
        ([0.5, 0.4], [1, 1], 0.0, 0.0),
        ([0.3], [0], 1.0, 0.0),
    ],
)
def test_area_under_risk_coverage_matches_manual_value(confidence, correct, area, excess):
    confidence, correct = np.array(confidence, "float32"), np.array(correct)
    np.testing.assert_allclose(number(area_under_risk_coverage(confidence, correct)), area, atol=1e-6)
    np.testing.assert_allclose(number(area_under_risk_coverage(confidence, correct, True)), excess, atol=1e-6)


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("confidence", "correct"),
    [
        ([1.0, 1.0, 1.0, 0.5, 0.5, 0.2], [1, 0, 1, 0, 1, 0]),
        ([0.5, 1.0, 0.5, 1.0, 0.2, 1.0], [0, 1, 1, 0, 0, 1]),
        ([0.5, 0.5, 0.5, 0.5], [0, 1, 1, 0]),
    ],
)
def test_area_under_risk_coverage_averages_over_order_of_ties(confidence, correct):
    confidence, correct = np.array(confidence, "float32"), np.array(correct, "float32")
    expected = area_by_hand(confidence, correct)
    np.testing.assert_allclose(number(area_under_risk_coverage(confidence, correct)), expected, rtol=1e-6)
    binned = binned_area_under_risk_coverage(risk_coverage_bins(confidence, correct))
    np.testing.assert_allclose(number(binned), expected, rtol=1e-6)
    np.testing.assert_allclose(
        number(binned_area_under_risk_coverage(risk_coverage_bins(confidence, correct), True)),
        number(area_under_risk_coverage(confidence, correct, True)),
        rtol=1e-5,
        atol=1e-7,
    )


@NOT_ON_JAX
def test_binned_area_is_exact_for_few_distinct_confidences():
    """Compares harmonic numbers in closed form with the sum over ranks, for groups of 1 to 30,000 samples."""
    rng = np.random.default_rng(0)
    confidence = rng.choice(np.linspace(-9, 29, 12), 50_000, p=rng.dirichlet(np.ones(12) * 0.3)).astype("float32")
    correct = (rng.random(50_000) < 1 / (1 + np.exp(-confidence / 9))).astype("float32")
    wrong_first = np.lexsort((correct, -confidence))
    exact = number(area_under_risk_coverage(confidence, correct))
    np.testing.assert_allclose(
        number(binned_area_under_risk_coverage(risk_coverage_bins(confidence, correct))), exact, rtol=2e-6
    )
    one_order = np.mean(np.cumsum(1 - correct[wrong_first].astype(float)) / np.arange(1, 50_001))
    assert abs(one_order - exact) > 1e-3  # The order within a group matters here.


def test_area_under_risk_coverage_ignores_order_of_data():
    rng = np.random.default_rng(0)
    confidence, correct = rng.integers(0, 5, 60).astype("float32"), rng.integers(0, 2, 60).astype("float32")
    order = rng.permutation(60)
    np.testing.assert_allclose(
        number(area_under_risk_coverage(confidence[order], correct[order])),
        number(area_under_risk_coverage(confidence, correct)),
        rtol=1e-6,
    )


def test_confidence_log_odds_resolve_probabilities_near_one():
    logits = np.array([[0.0, 20.0], [0.0, 25.0], [3.0, 0.0], [0.0, 500.0]], "float32")
    p = ops.softmax(ops.convert_to_tensor(logits))
    largest = ops.convert_to_numpy(ops.max(p, axis=-1))
    assert largest[0] == largest[1] == 1
    got = ops.convert_to_numpy(confidence_log_odds(p))
    np.testing.assert_allclose(got[:3], [20, 25, 3], rtol=1e-5)
    assert np.isfinite(got).all()
    assert got[3] > 80
    np.testing.assert_allclose(ops.convert_to_numpy(confidence_log_odds(np.array([[0.5, 0.5, 0.0]]))), [0.0], atol=1e-6)


def test_risk_coverage_bins_count_log_odds_beyond_outer_bins():
    bins = ops.convert_to_numpy(risk_coverage_bins(np.array([-50.0, 90.0, 10.0], "float32"), np.array([0, 1, 1]), 4))
    np.testing.assert_array_equal(bins, [[1, 1], [1, 0], [0, 0], [1, 0]])


def test_calibration_measures_of_nan_are_nan():
    confidence, correct = np.array([0.9, np.nan, 0.1], "float32"), np.array([1, 1, 0])
    assert np.isnan(number(area_under_risk_coverage(confidence, correct)))
    assert np.isnan(number(calibration_error(calibration_bins(confidence, correct))))
    assert np.isnan(number(binned_area_under_risk_coverage(risk_coverage_bins(confidence, correct))))


def test_calibration_measures_are_equal_when_compiled():
    confidence, correct = (array.astype("float32") for array in golden())
    confidence = np.round(confidence, 2)

    def everything(confidence, correct):
        bins = risk_coverage_bins(confidence, correct)
        return ops.stack(
            [
                calibration_error(calibration_bins(confidence, correct)),
                area_under_risk_coverage(confidence, correct),
                area_under_risk_coverage(confidence, correct, True),
                binned_area_under_risk_coverage(bins),
                binned_area_under_risk_coverage(bins, True),
            ]
        )

    confidence, correct = ops.convert_to_tensor(confidence), ops.convert_to_tensor(correct)
    np.testing.assert_allclose(
        ops.convert_to_numpy(compiled(everything)(confidence, correct)),
        ops.convert_to_numpy(everything(confidence, correct)),
        rtol=1e-5,
    )


def test_calibration_bins_compute_half_precision_in_float32():
    confidence = ops.cast(np.full(5000, 0.5), "bfloat16")
    bins = calibration_bins(confidence, ops.cast(np.ones(5000), "bfloat16"))
    np.testing.assert_array_equal(ops.convert_to_numpy(bins)[4], [5000, 2500, 5000])


@pytest.mark.parametrize("num_bins", [0, -1, 2.5, True, None])
@pytest.mark.parametrize("function", [calibration_bins, risk_coverage_bins])
def test_calibration_bins_reject_bad_num_bins(function, num_bins):
    with pytest.raises(ValueError, match=r"integer of at least 1. Received: num_bins="):
        function(np.ones(2), np.ones(2), num_bins)


@pytest.mark.parametrize("function", [calibration_bins, risk_coverage_bins, area_under_risk_coverage])
def test_calibration_functions_reject_bad_shapes(function):
    with pytest.raises(ValueError, match=r"one entry for each sample. Received: shape \(3,\)"):
        function(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"one entry for each sample. Received: shape \(2, 5\)"):
        function(np.ones((2, 5)), np.ones(2))


def test_calibration_functions_reject_bad_weights_and_empty_vectors():
    with pytest.raises(ValueError, match=r"`weights` must have one entry for each sample. Received: shape \(3,\)"):
        calibration_bins(np.ones(2), np.ones(2), weights=np.ones(3))
    with pytest.raises(ValueError, match=r"vector .* Received: shape \(2, 3\)"):
        area_under_risk_coverage(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"at least one sample.* Received: shape \(0,\)"):
        area_under_risk_coverage(np.ones(0), np.ones(0))
