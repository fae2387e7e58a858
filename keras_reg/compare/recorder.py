"""Records the time and the scores of each epoch of one training run."""

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

# A prediction batch has at most this many numbers: all of a small dataset, or a few hundred large images.
_PREDICTION_NUMBERS = 2_000_000


class Clock(keras.callbacks.Callback):
    """Stores when an epoch begins. It is the first callback, so that the time of all others is included."""

    def __init__(self) -> None:
        super().__init__()
        self.start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of the epoch."""
        self.start = time.perf_counter()


class Recorder(keras.callbacks.Callback):
    """Stops the clock of the epoch, then scores the model. It is the last callback.

    Attributes:
        history: One list per figure, with one entry per epoch.
    """

    def __init__(self, clock: Clock, plan: Plan, split: Split, progress: Progress, distributed: bool) -> None:
        super().__init__()
        self.history: dict[str, list[float | None]] = {}
        self._clock, self._plan, self._split, self._progress = clock, plan, split, progress
        self._distributed = distributed

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Appends the figures of this epoch to the history."""
        seconds = time.perf_counter() - self._clock.start
        logs = logs or {}
        figures: dict[str, float | None] = {"seconds": seconds}
        figures["train_loss"] = _to_number(logs.get("loss"))
        figures["train_accuracy"] = _to_number(logs.get("accuracy"))
        for name, part in (("val", self._split.validation), ("test", self._split.test)):
            measured = scores.score(self._predict(part.x), part.labels)
            figures.update({f"{name}_{key}": _to_number(value) for key, value in measured.items()})
        if self._plan.find_suspects is not None:
            suspected = self._plan.find_suspects().suspected
            figures.update(scores.score_detection(suspected, self._split.train.wrong))
        for name, value in figures.items():
            self.history.setdefault(name, []).append(value)
        self._progress.epoch(figures)

    def _predict(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
        """Returns the logits of the model, without the setup that `predict` repeats in every call."""
        size = max(1, _PREDICTION_NUMBERS // int(np.prod(x.shape[1:])))
        if self._distributed:
            # Under a strategy, `predict_on_batch` would run every sample on each replica.
            chunks = (self.model(x[at : at + size], training=False) for at in range(0, len(x), size))
            return np.concatenate([keras.ops.convert_to_numpy(logits) for logits in chunks])
        return np.concatenate([self.model.predict_on_batch(x[at : at + size]) for at in range(0, len(x), size)])


def _to_number(value: Any) -> float | None:
    """Returns a finite float, or `None` for other numbers, which JSON cannot store."""
    if value is None or not np.isfinite(value):
        return None
    return float(value)
