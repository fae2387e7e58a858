"""The table of a comparison, with two rows per method: at the last epoch and at the chosen epoch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from keras_reg.compare.runs import CHOICES, Run
from keras_reg.compare.statistics import Estimate, estimate, estimate_difference

Row = dict[str, Any]

SCORES = ("test_accuracy", "test_nll", "test_ece", "test_aurc")
DETECTIONS = ("found", "false_alarms")
HEADINGS = (
    "method", "epoch", "test accuracy", "gain over plain (points)", "NLL", "calibration error",
    "AURC x 1000", "step time (plain = 1)", "extra memory", "wrong labels found", "false alarms",
)  # fmt: skip


class Table(list[Row]):
    """Holds the rows of a comparison. `print` shows them as text, and a notebook shows a table."""

    def __str__(self) -> str:
        cells = [list(HEADINGS), *(format_row(row) for row in self)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
        return "\n".join(line.rstrip() for line in lines)

    def markdown(self) -> str:
        """Returns the table in Markdown."""
        lines = [list(HEADINGS), ["---"] * len(HEADINGS), *(format_row(row) for row in self)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _repr_markdown_(self) -> str:
        """Returns the text that a notebook shows."""
        return self.markdown()


def build_table(runs: Sequence[Run], labels: Sequence[str], tuned: Collection[str] = ()) -> Table:
    """Summarizes the scored runs.

    Args:
        runs: The runs. Those of a search are ignored.
        labels: The labels of the variants, in order. Variants without a run are left out.
        tuned: The labels of the variants whose parameters were searched.

    Returns:
        The table, with two rows for each variant.
    """
    by_label = {label: {run.seed: run for run in runs if run.label == label and run.trial is None} for label in labels}
    rows = [
        {"tuned": label in tuned, **_make_row(label, by_label[label], by_label.get("plain", {}), choice)}
        for label in labels
        for choice in CHOICES
        if by_label[label]
    ]
    return Table(rows)


def _make_row(label: str, runs: dict[int, Run], plain: dict[int, Run], choice: str) -> Row:
    """Returns the figures of one variant at one choice of epoch."""
    common = [seed for seed in runs if seed in plain]
    row: Row = {"method": label, "epoch": choice, "seeds": list(runs)}
    row["epochs"] = [run.epoch(choice) + 1 for run in runs.values()]
    for name in SCORES:
        _put(row, name, [run.figure(name, choice) for run in runs.values()])
        difference = f"{name}_difference"
        values = [runs[seed].figure(name, choice) for seed in common]
        _put(row, difference, values, [plain[seed].figure(name, choice) for seed in common])
    for name in DETECTIONS:
        _put(row, name, [run.figure(name, choice) for run in runs.values()])
    row["step_time_ratio"] = _compute_time_ratio([(runs[seed], plain[seed]) for seed in common])
    row["extra_memory_bytes"] = max(run.extra_bytes for run in runs.values())
    return row


def _put(row: Row, name: str, values: list[float | None], baseline: list[float | None] | None = None) -> None:
    """Adds a mean over seeds and its interval. Both are `None` if the figure is missing for a seed."""
    known = [value for value in values if value is not None]
    result: Estimate | None = None
    if known and len(known) == len(values):
        if baseline is None:
            result = estimate(known)
        elif None not in baseline:
            result = estimate_difference(known, [value for value in baseline if value is not None])
    row[name] = result.mean if result else None
    row[f"{name}_interval"] = result.half_width if result else None


def _compute_time_ratio(pairs: list[tuple[Run, Run]]) -> float | None:
    """Returns the median over seeds of the ratio between the epoch times of two runs."""
    times = [(run.epoch_seconds, plain.epoch_seconds) for run, plain in pairs]
    ratios = [seconds / baseline for seconds, baseline in times if seconds is not None and baseline]
    return float(np.median(ratios)) if ratios else None


def format_row(row: Row) -> list[str]:
    """Returns a row as text, with one cell per heading. A dash marks a figure that the method does not have."""
    ratio, memory = row["step_time_ratio"], row["extra_memory_bytes"]
    is_plain = row["method"] == "plain"
    return [
        row["method"] + (" (tuned)" if row["tuned"] else ""),
        row["epoch"],
        _format_percent(row, "test_accuracy"),
        "-" if is_plain else _format_points(row, "test_accuracy_difference"),
        _format_decimal(row, "test_nll"),
        _format_decimal(row, "test_ece"),
        _format_decimal(row, "test_aurc", factor=1000, digits=1),
        "-" if ratio is None else f"{ratio:.2f}",
        _format_bytes(memory) if memory else "none",
        _format_percent(row, "found"),
        _format_percent(row, "false_alarms"),
    ]


def _format_percent(row: Row, name: str) -> str:
    """Formats a share in percent with its interval."""
    if row[name] is None:
        return "-"
    half = row[f"{name}_interval"]
    return f"{100 * row[name]:.1f}" + ("" if half is None else f" ± {100 * half:.1f}") + " %"


def _format_points(row: Row, name: str) -> str:
    """Formats a difference of two shares in percentage points with its interval."""
    if row[name] is None:
        return "-"
    half = row[f"{name}_interval"]
    return f"{100 * row[name]:+.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


def _format_decimal(row: Row, name: str, factor: float = 1, digits: int = 3) -> str:
    """Formats a number, multiplied by a factor, with its interval."""
    if row[name] is None:
        return "-"
    half = row[f"{name}_interval"]
    text = f"{factor * row[name]:.{digits}f}"
    return text + ("" if half is None else f" ± {factor * half:.{digits}f}")


def _format_bytes(count: int) -> str:
    """Formats a number of bytes in the largest suitable unit."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
