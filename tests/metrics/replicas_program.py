"""Prints the metrics of weighted samples with one processor and with two; run in a process of its own."""

from __future__ import annotations

import contextlib
import json

import keras
import numpy as np

from keras_reg.metrics import AreaUnderRiskCoverage, ExpectedCalibrationError, NegativeLogLikelihood
from tests.metrics.support import LABELS, PROBABILITIES
from tests.support.replicas import divide_the_processor, two_replicas


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


if __name__ == "__main__":
    divide_the_processor()
    print(json.dumps([evaluate(contextlib.nullcontext()), evaluate(two_replicas())]))
