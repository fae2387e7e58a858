"""The data of a comparison. Pictures, pages and files are made from it by `pictures`, `report` and `output_files`."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_reg.compare.datasets import Dataset
from keras_reg.compare.methods import Variant
from keras_reg.compare.runs import CHOICES, Run
from keras_reg.compare.settings import Settings
from keras_reg.compare.table import DETECTIONS, SCORES, Table, build_table

FIGURES = ("val_accuracy", "train_accuracy", *SCORES, *DETECTIONS)


@dataclasses.dataclass
class Comparison:
    """What a comparison found.

    Attributes:
        settings: What it was asked to do.
        environment: What it ran on.
        facts: The data set's name, sizes, classes and shares of wrong labels.
        variants: The methods that were compared.
        tuned: The parameters that a search found, by variant.
        dataset: The data.
        runs: The finished runs, those of a search included.
    """

    settings: Settings
    environment: dict[str, Any]
    facts: dict[str, Any]
    variants: tuple[Variant, ...]
    dataset: Dataset
    tuned: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    runs: list[Run] = dataclasses.field(default_factory=list)

    @property
    def scored(self) -> list[Run]:
        """The runs that count: all but those of a search."""
        return [run for run in self.runs if run.trial is None]

    @property
    def labels(self) -> list[str]:
        """The variants' names, plain first."""
        return [variant.label for variant in self.variants]

    @property
    def table(self) -> Table:
        """Two rows per method; a list of dictionaries that prints as a table."""
        return build_table(self.scored, self.labels, self.tuned)

    @property
    def suspected(self) -> list[dict[str, Any]]:
        """Every label that a method suspects after the last epoch, the surest of each run first."""
        rows = []
        for run in self.scored:
            columns = run.suspects or {}
            for values in zip(*columns.values(), strict=True):
                rows.append({"method": run.label, "seed": run.seed, **dict(zip(columns, values, strict=True))})
        return rows

    def as_dict(self) -> dict[str, Any]:
        """The comparison as it is stored in `results.json`, without the histories."""
        return {
            "arguments": self.arguments,
            "environment": self.environment,
            "data": self.facts,
            "methods": [
                {
                    "label": variant.label,
                    "parameters": variant.parameters(self.tuned.get(variant.label)),
                    "source": "search" if variant.label in self.tuned else variant.method.source,
                    "tuned": variant.label in self.tuned,
                }
                for variant in self.variants
            ],
            "finished_runs": len(self.scored),
            "planned_runs": len(self.variants) * len(self.settings.seeds),
            "table": list(self.table),
            "runs": [row for run in self.scored for row in rows_of(run)],
        }

    @property
    def arguments(self) -> dict[str, Any]:
        """What decides the results: settings, backend, and what the data are."""
        backend = self.environment["backend"]
        return {**self.settings.as_dict(), "backend": backend, "data": self.facts["fingerprint"]}


def rows_of(run: Run) -> list[dict[str, Any]]:
    """A run's figures at both choices of epoch."""
    return [
        {
            "method": run.label,
            "seed": run.seed,
            "choice": choice,
            "epoch": run.epoch(choice) + 1,
            **{name: run.figure(name, choice) for name in FIGURES},
            "epoch_seconds": run.epoch_seconds,
            "extra_memory_bytes": run.extra_bytes,
        }
        for choice in CHOICES
    ]
