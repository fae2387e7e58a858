"""What one training leaves behind, as it is stored."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

History = dict[str, list[float | None]]

CHOICES = ("last", "chosen")


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished training.

    Attributes:
        label: The variant of the method.
        seed: The seed.
        trial: Which setting of a search this was; `None` for a run that is scored.
        parameters: The method's parameters.
        history: One list per figure, with one entry per epoch; `None` where a figure is not finite.
        suspects: The labels that the method suspects after the last epoch, as columns `index`, `given`,
            `suggested`, `true` and `margin`; `None` for a method that suspects none.
        extra_bytes: The memory that the method needs beyond plain training.
        seconds: How long all of it took, scoring included.
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
        """The name of its file."""
        return run_key(self.label, self.seed, self.trial)

    def epoch(self, choice: str) -> int:
        """The last epoch, or the one that the noisy validation split chooses (the first of several best ones).

        Args:
            choice: `"last"` or `"chosen"`.

        Returns:
            The epoch, counted from 0.
        """
        accuracies = [-1.0 if value is None else value for value in self.history["val_accuracy"]]
        return len(accuracies) - 1 if choice == "last" else int(np.argmax(accuracies))

    def figure(self, name: str, choice: str) -> float | None:
        """One figure at the last or the chosen epoch; `None` if it was not measured or not finite."""
        values = self.history.get(name)
        return None if values is None else values[self.epoch(choice)]

    @property
    def epoch_seconds(self) -> float | None:
        """The time that an epoch's training takes on an idle machine, as near as can be had.

        The lower quartile of the epochs without the first, which compiles: other load on the machine disturbs it less
        than the median.
        """
        seconds = [value for value in self.history["seconds"][1:] if value is not None]
        return float(np.quantile(seconds, 0.25)) if seconds else None


def run_key(label: str, seed: int, trial: int | None) -> str:
    """A name for a run that every file system takes."""
    key = f"{re.sub(r'[^A-Za-z0-9_.=+-]+', '-', label)}-seed{seed}"
    return key if trial is None else f"{key}-trial{trial}"
