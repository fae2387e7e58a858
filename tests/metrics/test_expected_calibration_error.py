"""Tests of the expected calibration error against the authors' number and against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_reg.metrics import ExpectedCalibrationError
from tests.metrics.support import GOLDEN, LABELS, PROBABILITIES, score
from tests.support.tiers import NOT_ON_JAX


def compute_error(probabilities, labels, num_bins, weights=None):
    weights = np.ones(len(labels)) if weights is None else weights
    confidence, correct = probabilities.max(1).astype(float), probabilities.argmax(1) == labels
    error = 0.0
    for lower in np.arange(num_bins):
        inside = (confidence > lower / num_bins) & (confidence <= (lower + 1) / num_bins)
        error += abs(np.sum(weights[inside] * (confidence[inside] - correct[inside])))
    return error / weights.sum()


@pytest.mark.parametrize("batch", [200, 64, 7])
def test_calibration_metric_matches_golden_value_for_any_batches(batch):
    got = score(ExpectedCalibrationError(), LABELS, PROBABILITIES, batch=batch)
    np.testing.assert_allclose(got, GOLDEN["metric/ece_percent"] / 100, rtol=2e-6)
    np.testing.assert_allclose(got, 0.21571238, atol=1e-6)


@NOT_ON_JAX
@pytest.mark.parametrize("num_bins", [1, 2, 15, 40])
def test_calibration_metric_uses_num_bins_and_sample_weight(num_bins):
    weights = np.random.default_rng(0).uniform(0, 3, 200)
    weights[::7] = 0
    metric = ExpectedCalibrationError(num_bins)
    np.testing.assert_allclose(
        score(metric, LABELS, PROBABILITIES), compute_error(PROBABILITIES, LABELS, num_bins), rtol=1e-5
    )
    got = score(metric, LABELS, PROBABILITIES, weights, batch=64)
    np.testing.assert_allclose(got, compute_error(PROBABILITIES, LABELS, num_bins, weights), rtol=1e-5)
    assert abs(got - compute_error(PROBABILITIES, LABELS, num_bins)) > 1e-3


@NOT_ON_JAX
def test_calibration_metric_counts_confidence_beyond_edges():
    metric = ExpectedCalibrationError()
    above = np.float32(1) + np.finfo("float32").eps
    predictions = np.array([[above, 0.0], [0.0, 1.0], [0.0, 0.0]], "float32")
    np.testing.assert_allclose(score(metric, np.array([0, 0, 0]), predictions), (1 + 1) / 3, rtol=1e-6)
    np.testing.assert_array_equal(ops.convert_to_numpy(metric.bins)[[0, 9], 0], [1, 2])


def test_calibration_metric_of_perfect_and_worst_predictions_is_0_and_1():
    certain = np.eye(3, dtype="float32")[[0, 1, 2, 0]]
    metric = ExpectedCalibrationError()
    assert score(metric, np.array([0, 1, 2, 0]), certain) == 0
    assert score(metric, np.array([1, 2, 0, 1]), certain) == 1
    half = np.full((4, 2), 0.5, "float32")
    assert score(metric, np.array([0, 1, 0, 1]), half) == 0


@NOT_ON_JAX
def test_calibration_metric_state_has_fixed_size():
    metric = ExpectedCalibrationError(15)
    score(metric, LABELS, PROBABILITIES, batch=10)
    assert [tuple(variable.shape) for variable in metric.variables] == [(15, 3)]
    np.testing.assert_array_equal(ops.convert_to_numpy(metric.bins).sum(0)[0], 200)


@pytest.mark.parametrize("num_bins", [0, -3, 1.5, True])
def test_calibration_metric_rejects_bad_num_bins(num_bins):
    with pytest.raises(ValueError, match=r"`num_bins` must be an integer of at least 1. Received: num_bins="):
        ExpectedCalibrationError(num_bins)
