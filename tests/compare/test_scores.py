"""Compares the scores with manually computed numbers."""

import math

import numpy as np
import pytest

from keras_reg.compare import scores

pytestmark = pytest.mark.any_backend


def logits_of(*rows):
    return np.log(np.asarray(rows, dtype=np.float64))


def test_nll_score_matches_manual_value():
    logits = logits_of([0.5, 0.25, 0.25], [0.1, 0.8, 0.1])
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert scores.negative_log_likelihood(logits, np.array([0, 2])) == pytest.approx(expected, abs=1e-12)


def test_nll_score_of_large_logits_is_finite():
    logits = np.array([[1000.0, 0.0], [0.0, 1000.0]], np.float32)
    assert scores.negative_log_likelihood(logits, np.array([0, 0])) == pytest.approx(500.0)


def test_scores_are_invariant_to_shifted_logits():
    logits, labels = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 4
    shifted = scores.score(logits + 7.5, labels)
    assert shifted == pytest.approx(scores.score(logits, labels))


def test_accuracy_score_matches_manual_value():
    logits = logits_of([0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.2, 0.8])
    assert scores.accuracy(logits, np.array([0, 1, 1, 1])) == 0.75


def test_calibration_score_matches_manual_value():
    # Bin (0.5, 0.6]: confidences 0.55 and 0.6, one right: |0.5 - 0.575| = 0.075 for 2 of 4 samples.
    # Bin (0.9, 1.0]: confidences 0.95 and 0.97, both right: |1 - 0.96| = 0.04 for 2 of 4 samples.
    logits = logits_of([0.55, 0.45], [0.4, 0.6], [0.95, 0.05], [0.03, 0.97])
    labels = np.array([0, 0, 0, 1])
    assert scores.calibration_error(logits, labels) == pytest.approx(0.5 * 0.075 + 0.5 * 0.04, abs=1e-6)


def test_calibration_score_assigns_edge_to_bin_below():
    # There are two bins. Both 0.5 and 0.4 are in (0, 0.5], and one of them is right. In the bin above the edge, 0.5
    # would have an error of 0.5, and 0.4 would have an error of 0.4.
    logits = logits_of([0.5, 0.25, 0.25], [0.4, 0.3, 0.3])
    assert scores.calibration_error(logits, np.array([0, 1]), bins=2) == pytest.approx(abs(0.5 - 0.45), abs=1e-6)


def test_risk_coverage_score_matches_manual_value():
    # From the most to the least confident, the samples are right, wrong, right. The error rates are 0, 1/2, 1/3.
    logits = logits_of([0.9, 0.1], [0.2, 0.8], [0.7, 0.3])
    assert scores.area_under_risk_coverage(logits, np.array([0, 0, 0])) == pytest.approx((1 / 2 + 1 / 3) / 3, abs=1e-6)


def test_calibration_score_of_certain_correct_model_is_zero():
    logits = np.array([[50.0, 0.0], [0.0, 50.0]])
    assert scores.calibration_error(logits, np.array([0, 1])) == pytest.approx(0.0, abs=1e-6)


def test_scores_of_nonfinite_logits_are_nan():
    logits = np.array([[np.nan, 0.0], [0.0, 1.0]])
    assert math.isnan(scores.calibration_error(logits, np.array([0, 1])))
    assert math.isnan(scores.negative_log_likelihood(logits, np.array([0, 1])))


def test_detection_score_matches_manual_value():
    suspected = np.array([True, True, False, False, True])
    wrong = np.array([True, True, True, False, False])
    assert scores.score_detection(suspected, wrong) == {"found": pytest.approx(2 / 3), "false_alarms": 0.5}


def test_detection_score_without_wrong_labels_is_none():
    assert scores.score_detection(np.array([True, False]), np.array([False, False])) == {
        "found": None,
        "false_alarms": None,
    }
