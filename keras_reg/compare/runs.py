"""The stored results of one training run."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

History = dict[str, list[float | None]]

CHOICES = ("last", "chosen")


@dataclasses.dataclass(frozen=True)
class Run:
    """Holds the results of one finished training run.

    Attributes:
        label: The label of the variant.
        seed: The seed.
        trial: The number of the setting in a search, or `None` for a scored run.
        parameters: The parameters of the method.
        history: One list per figure, with one entry per epoch. An entry is `None` if the figure is not finite.
        suspects: The labels that the method suspects after the last epoch, as columns `index`, `given`, `suggested`,
            `true` and `margin`. It is `None` for a method that cannot suspect labels.
        extra_bytes: The additional memory in bytes, compared to training without a method.
        seconds: The total time of the run, including scoring.
    """

    label: str
    seed: int
    trial: int | None
    parameters: dict[str, Any]
    history: History
    suspects: dict[str, list[Any]] | None
    extra_bytes: int
    seconds: float

    @property
    def key(self) -> str:
        """Returns the name of the file of this run."""
        return make_run_key(self.label, self.seed, self.trial)

    def epoch(self, choice: str) -> int:
        """Returns the last epoch, or the first one with the best accuracy on the noisy validation split.

        Args:
            choice: `"last"` or `"chosen"`.

        Returns:
            The epoch, counted from 0.
        """
        accuracies = [-1.0 if value is None else value for value in self.history["val_accuracy"]]
        return len(accuracies) - 1 if choice == "last" else int(np.argmax(accuracies))

    def figure(self, name: str, choice: str) -> float | None:
        """Returns a figure at the last or the chosen epoch, or `None` if it was not measured or is not finite."""
        values = self.history.get(name)
        return None if values is None else values[self.epoch(choice)]

    @property
    def epoch_seconds(self) -> float | None:
        """Returns an estimate of the training time of an epoch on an idle machine.

        It is the lower quartile of all epochs except the first one, which includes compilation. Other load on the
        machine affects the lower quartile less than the median.
        """
        seconds = [value for value in self.history["seconds"][1:] if value is not None]
        return float(np.quantile(seconds, 0.25)) if seconds else None


def make_run_key(label: str, seed: int, trial: int | None) -> str:
    """Returns a name for a run that is a valid file name on every file system."""
    key = f"{re.sub(r'[^A-Za-z0-9_.=+-]+', '-', label)}-seed{seed}"
    return key if trial is None else f"{key}-trial{trial}"
