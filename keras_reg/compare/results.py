"""The data of a comparison, from which `pictures`, `report` and `output_files` make pictures, pages and files."""

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
    """Holds the results of a comparison.

    Attributes:
        settings: The settings of the comparison.
        environment: Dictionary. The versions, the platform and the backend.
        facts: Dictionary. The name of the dataset, its sizes, classes and shares of wrong labels.
        variants: Tuple. The methods that were compared, with their parameters.
        dataset: The data.
        tuned: Dictionary. The parameters that a search found, by the label of the variant.
        runs: List. The finished runs, including those of a search.
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
        """Returns the runs that do not belong to a parameter search."""
        return [run for run in self.runs if run.trial is None]

    @property
    def labels(self) -> list[str]:
        """Returns the labels of the variants. The first one is `plain`, which is training without a method."""
        return [variant.label for variant in self.variants]

    @property
    def table(self) -> Table:
        """Returns the rows of the table, two dictionaries per method. They print as a table."""
        return build_table(self.scored, self.labels, self.tuned)

    @property
    def suspected(self) -> list[dict[str, Any]]:
        """Returns the labels that the methods suspect after the last epoch, the largest margins of a run first."""
        rows = []
        for run in self.scored:
            columns = run.suspects or {}
            for values in zip(*columns.values(), strict=True):
                rows.append({"method": run.label, "seed": run.seed, **dict(zip(columns, values, strict=True))})
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Returns the contents of `results.json`, which has no histories."""
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
            "runs": [row for run in self.scored for row in make_rows(run)],
        }

    @property
    def arguments(self) -> dict[str, Any]:
        """Returns all that determines the results: the settings, the backend and a fingerprint of the data."""
        backend = self.environment["backend"]
        return {**self.settings.as_dict(), "backend": backend, "data": self.facts["fingerprint"]}


def make_rows(run: Run) -> list[dict[str, Any]]:
    """Returns the figures of a run at the last and at the chosen epoch."""
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
