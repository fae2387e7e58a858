"""Tests of the negative log-likelihood against the golden number, against NumPy and at its floor."""

from __future__ import annotations

import numpy as np
import pytest

from keras_reg.metrics import NegativeLogLikelihood
from tests.metrics.support import GOLDEN, LABELS, PROBABILITIES, score


@pytest.mark.parametrize("batch", [200, 64, 7])
def test_nll_metric_matches_golden_value_for_any_batches(batch):
    got = score(NegativeLogLikelihood(), LABELS, PROBABILITIES, batch=batch)
    np.testing.assert_allclose(got, GOLDEN["metric/nll"], rtol=2e-6)


def test_nll_metric_of_logits_is_exact_beyond_floor():
    logits = np.array([[0.0, 200.0], [0.0, 1.0]], "float32")
    got = score(NegativeLogLikelihood(from_logits=True), np.array([0, 0]), logits)
    np.testing.assert_allclose(got, (200 + np.log1p(np.e)) / 2, rtol=1e-6)


def test_nll_metric_clips_probabilities_at_floor():
    metric = NegativeLogLikelihood()
    np.testing.assert_allclose(score(metric, np.array([0]), np.array([[0.0, 1.0]], "float32")), 87.3365, rtol=1e-5)
    # A floor of 1e-7 would hide this probability.
    got = score(metric, np.array([0]), np.array([[1e-30, 1.0]], "float32"))
    np.testing.assert_allclose(got, 30 * np.log(10), rtol=1e-6)


def test_nll_metric_uses_sample_weight():
    weights = np.random.default_rng(0).uniform(0, 2, 200)
    expected = np.average(-np.log(GOLDEN["metric/confidences"][np.arange(200), LABELS]), weights=weights)
    np.testing.assert_allclose(score(NegativeLogLikelihood(), LABELS, PROBABILITIES, weights, 64), expected, rtol=1e-5)


def test_nll_metric_of_soft_labels_equals_cross_entropy():
    soft = np.random.default_rng(0).dirichlet(np.ones(5), 200)
    expected = np.mean(-(soft * np.log(GOLDEN["metric/confidences"])).sum(1))
    np.testing.assert_allclose(score(NegativeLogLikelihood(), soft, PROBABILITIES), expected, rtol=1e-5)
