"""Computes metrics of weighted samples on one CPU device and on two."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from keras_reg.metrics import AreaUnderRiskCoverage, ExpectedCalibrationError, NegativeLogLikelihood
from tests.metrics.support import LABELS, PROBABILITIES
from tests.support.replicas import two_replicas


def evaluate(scope) -> dict[str, float]:
    with scope:
        identity = keras.layers.Dense(5, use_bias=False, kernel_initializer="identity")
        model = keras.Sequential([keras.Input((5,)), identity])
        metrics = [cls(from_logits=True) for cls in (ExpectedCalibrationError, AreaUnderRiskCoverage)]
        metrics.append(NegativeLogLikelihood(from_logits=True))
        model.compile(weighted_metrics=metrics, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = np.random.default_rng(0).uniform(0, 2, 200).astype("float32")
    logs = model.evaluate(np.log(PROBABILITIES), LABELS, 40, 0, weights, return_dict=True)
    return {metric.name: float(logs[metric.name]) for metric in metrics}


def compare() -> list[dict[str, float]]:
    """Returns the metrics on one CPU device and on two."""
    return [evaluate(contextlib.nullcontext()), evaluate(two_replicas())]
