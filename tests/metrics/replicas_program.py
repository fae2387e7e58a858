"""Prints the metrics of weighted samples with one processor and with two; run in a process of its own."""

from __future__ import annotations

import contextlib
import json

import keras
import numpy as np

from keras_reg.metrics import AreaUnderRiskCoverage, ExpectedCalibrationError, NegativeLogLikelihood
from tests.metrics.support import LABELS, PROBABILITIES

BACKEND = keras.backend.backend()


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
    if BACKEND == "tensorflow":
        import tensorflow as tf

        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)
    one = evaluate(contextlib.nullcontext())
    if BACKEND == "tensorflow":
        names = [device.name for device in tf.config.list_logical_devices("CPU")]
        two = evaluate(tf.distribute.MirroredStrategy(names).scope())
    else:
        names = keras.distribution.list_devices()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names))
        two = evaluate(contextlib.nullcontext())
    print(json.dumps([len(names), one, two]))
