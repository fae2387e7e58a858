"""Watches one training: how long each epoch trains, and what the model is worth after it."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_reg.compare import scores
from keras_reg.compare.methods import Plan
from keras_reg.compare.progress import Progress
from keras_reg.compare.splits import Split

# Numbers in one prediction batch: whole small data sets at once, big images a few hundred at a time.
_PREDICTION_NUMBERS = 2_000_000


class Clock(keras.callbacks.Callback):
    """Notes when an epoch begins. The first of the callbacks, so that theirs are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.began = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's time."""
        self.began = time.perf_counter()


class Recorder(keras.callbacks.Callback):
    """Stops the epoch's time, then scores the model. The last of the callbacks.

    Attributes:
        history: One list per figure, with one entry per epoch.
    """

    def __init__(self, clock: Clock, plan: Plan, split: Split, progress: Progress, distributed: bool) -> None:
        super().__init__()
        self.history: dict[str, list[float | None]] = {}
        self._clock, self._plan, self._split, self._progress = clock, plan, split, progress
        self._distributed = distributed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Appends this epoch's figures to the history."""
        seconds = time.perf_counter() - self._clock.began
        logs = logs or {}
        figures: dict[str, float | None] = {"seconds": seconds}
        figures["train_loss"] = _number(logs.get("loss"))
        figures["train_accuracy"] = _number(logs.get("accuracy"))
        for name, part in (("val", self._split.validation), ("test", self._split.test)):
            measured = scores.score(self._logits(part.x), part.given)
            figures.update({f"{name}_{key}": _number(value) for key, value in measured.items()})
        if self._plan.suspects is not None:
            suspected = self._plan.suspects().suspected
            figures.update(scores.detection(suspected, self._split.train.wrong))
        for name, value in figures.items():
            self.history.setdefault(name, []).append(value)
        self._progress.epoch(figures)

    def _logits(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """The model's logits, without the set-up that `predict` repeats at every call."""
        size = max(1, _PREDICTION_NUMBERS // int(np.prod(x.shape[1:])))
        if self._distributed:
            # Under a strategy `predict_on_batch` would run every sample on each replica.
            chunks = (self.model(x[at : at + size], training=False) for at in range(0, len(x), size))
            return np.concatenate([keras.ops.convert_to_numpy(logits) for logits in chunks])
        return np.concatenate([self.model.predict_on_batch(x[at : at + size]) for at in range(0, len(x), size)])


def _number(value: Any) -> float | None:
    """A finite float, or `None`, which JSON can hold."""
    if value is None or not np.isfinite(value):
        return None
    return float(value)
