"""Tests of the difference between the binned and the exact area under the risk-coverage curve."""

from __future__ import annotations

import numpy as np
import pytest

from keras_reg.metrics import AreaUnderRiskCoverage
from tests.metrics.support import GOLDEN, LABELS, PROBABILITIES, score
from tests.support.tiers import NOT_ON_JAX, ON_TORCH


def compute_softmax(logits):
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def draw_samples(num_samples, num_classes, scale, seed=0):
    """Returns logits of an overconfident classifier, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(num_samples, num_classes)) * scale
    true = compute_softmax(logits / max(1.0, scale / 2))
    return logits.astype("float32"), (true.cumsum(1) > rng.random((num_samples, 1))).argmax(1)


def compute_log_odds(logits):
    z = np.sort(logits.astype(float), axis=1)
    return z[:, -1] - np.log(np.exp(z[:, :-1] - z[:, -2:-1]).sum(1)) - z[:, -2]


def compute_area(score, correct, excess=False):
    """Returns the exact area for confidences that all differ, so that their order is unique."""
    ranks = np.arange(1, len(correct) + 1)
    area = np.mean(np.cumsum(~correct[np.argsort(-score, kind="stable")]) / ranks)
    return area - np.mean(np.maximum(0, ranks - correct.sum()) / ranks) if excess else area


@NOT_ON_JAX
@pytest.mark.parametrize("excess", [False, True])
@pytest.mark.parametrize("batch", [200, 64, 7])
def test_risk_coverage_metric_matches_golden_value_within_binning_error(excess, batch):
    key = "metric/eaurc_x1000" if excess else "metric/aurc_x1000"
    got = score(AreaUnderRiskCoverage(excess=excess), LABELS, PROBABILITIES, batch=batch)
    np.testing.assert_allclose(got, GOLDEN[key] / 1000, atol=5e-4)
    fine = score(AreaUnderRiskCoverage(200_000, excess=excess), LABELS, PROBABILITIES, batch=200)
    np.testing.assert_allclose(fine, GOLDEN[key] / 1000, atol=2e-6)


@ON_TORCH
@pytest.mark.parametrize(
    ("num_samples", "seeds", "error"),
    [(200, 10, 3e-3), (2000, 3, 1e-3), pytest.param(50_000, 1, 2e-4, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_risk_coverage_metric_has_documented_binning_error(num_samples, seeds, error, num_classes):
    """Checks the differences that the docstring states. They are larger with coarse bins, so the test can fail."""
    # This limits the memory of the logits.
    num_classes = min(num_classes, 5_000_000 // num_samples)
    fine, coarse = AreaUnderRiskCoverage(from_logits=True), AreaUnderRiskCoverage(30, from_logits=True)
    differences = []
    for scale in (1, 3, 10):
        for seed in range(seeds):
            logits, labels = draw_samples(num_samples, num_classes, scale, seed)
            truth = compute_area(compute_log_odds(logits), logits.argmax(1) == labels)
            differences.append([abs(score(metric, labels, logits) - truth) for metric in (fine, coarse)])
    assert np.max(differences, axis=0)[0] < error < np.max(differences, axis=0)[1]


@NOT_ON_JAX
def test_risk_coverage_metric_does_not_rank_log_odds_above_range():
    logits, labels = draw_samples(2000, 2, 30)
    beyond = np.mean(compute_log_odds(logits) > 30)
    assert 0.45 < beyond < 0.55
    truth = compute_area(compute_log_odds(logits), logits.argmax(1) == labels)
    got = score(AreaUnderRiskCoverage(from_logits=True), labels, logits)
    np.testing.assert_allclose(got - truth, 0.01, atol=5e-4)


def test_risk_coverage_metric_of_one_bin_equals_error_rate():
    error_rate = np.mean(PROBABILITIES.argmax(1) != LABELS)
    np.testing.assert_allclose(score(AreaUnderRiskCoverage(1), LABELS, PROBABILITIES), error_rate, rtol=1e-6)


@NOT_ON_JAX
def test_risk_coverage_metric_ranks_confidences_rounded_to_one():
    logits = np.array([[18.0, 0], [20.0, 0], [22.0, 0], [24.0, 0]], "float32")
    assert (compute_softmax(logits).max(1) == 1).all()
    got = [score(AreaUnderRiskCoverage(from_logits=True), np.array(y), logits) for y in ([1, 0, 0, 0], [0, 0, 0, 1])]
    np.testing.assert_allclose(got, [1 / 16, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4], rtol=1e-6)
    p = np.stack([1 - np.exp(-logits[:, 0]), np.exp(-logits[:, 0])], 1).astype("float32")
    np.testing.assert_allclose(score(AreaUnderRiskCoverage(), np.array([1, 0, 0, 0]), p), 1 / 16, rtol=1e-6)


@NOT_ON_JAX
def test_risk_coverage_metric_treats_weights_as_copies():
    weights = np.random.default_rng(0).integers(0, 4, 200)
    rows = np.repeat(np.arange(200), weights)
    for excess in (False, True):
        metric = AreaUnderRiskCoverage(excess=excess)
        copies = score(metric, LABELS[rows], PROBABILITIES[rows])
        np.testing.assert_allclose(score(metric, LABELS, PROBABILITIES, weights, batch=64), copies, rtol=1e-5)


@NOT_ON_JAX
def test_risk_coverage_metric_state_has_fixed_size():
    metric = AreaUnderRiskCoverage(500)
    score(metric, LABELS, PROBABILITIES, batch=10)
    assert [tuple(variable.shape) for variable in metric.variables] == [(500, 2)]


def test_risk_coverage_metric_rejects_bad_arguments():
    with pytest.raises(ValueError, match=r"`num_bins` must be an integer of at least 1. Received: num_bins=0"):
        AreaUnderRiskCoverage(0)
    with pytest.raises(ValueError, match=r"`excess` must be True or False. Received: excess='yes'"):
        AreaUnderRiskCoverage(excess="yes")
