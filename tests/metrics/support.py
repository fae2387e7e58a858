"""Predictions to score, and a function that runs a metric."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
from keras import ops

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "pskd.npz", allow_pickle=False)
PROBABILITIES = GOLDEN["metric/confidences"].astype("float32")
LABELS = GOLDEN["metric/labels"].astype("int32")


def score(metric: keras.metrics.Metric, labels, predictions, sample_weight=None, batch: int | None = None) -> float:
    """Returns the result for predictions that are passed batch by batch."""
    metric.reset_state()
    batch = batch or len(predictions)
    for start in range(0, len(predictions), batch):
        rows = slice(start, start + batch)
        metric.update_state(labels[rows], predictions[rows], None if sample_weight is None else sample_weight[rows])
    return float(ops.convert_to_numpy(metric.result()))
