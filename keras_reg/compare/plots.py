"""Draws the summary and the learning curves of a comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reg.compare import extras
from keras_reg.compare.report_text import describe_noise, format_label
from keras_reg.compare.results import Comparison
from keras_reg.compare.statistics import estimate

# Training without a method is gray. Color-blind readers can distinguish the other colors (Okabe and Ito).
_PLAIN = "#6b6b6b"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_STYLES = ("-", "--", ":", "-.")


def draw_summary(comparison: Comparison) -> Any:
    """Draws the test accuracy per epoch, and the accuracy and calibration error at the last and the chosen epoch."""
    rows = len(comparison.labels)
    figure = _make_figure(12, 4.0 + 0.3 * max(0, rows - 3))
    curves, accuracy, calibration = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _draw_curves(curves, comparison, "test_accuracy", percent=True)
    curves.set_title("accuracy on the clean test set")
    _draw_choices(accuracy, comparison, "test_accuracy", percent=True)
    accuracy.set_title("accuracy: last and chosen epoch")
    _draw_choices(calibration, comparison, "test_ece", percent=False)
    calibration.set_title("calibration error (lower is better)")
    calibration.set_xlim(left=0)
    calibration.tick_params(labelleft=False)
    figure.get_layout_engine().set(w_pad=0.12)
    _draw_summary_legend(figure, comparison)
    figure.suptitle(_make_title(comparison), fontsize=12, fontweight="bold")
    return figure


def draw_learning_curves(comparison: Comparison) -> Any:
    """Draws the scores of each method per epoch, as the mean over seeds and their range."""
    panels: list[tuple[str, str, bool]] = [
        ("test_accuracy", "accuracy on the clean test set", True),
        ("train_accuracy", "training accuracy on the noisy labels", True),
        ("val_accuracy", "accuracy on the noisy validation labels", True),
        ("test_nll", "negative log-likelihood on the test set", False),
    ]
    if any("found" in run.history for run in comparison.scored):
        panels += [
            ("found", "wrong training labels found", True),
            ("false_alarms", "correct training labels suspected (false alarms)", True),
        ]
    rows = len(panels) // 2
    figure = _make_figure(11, 3.1 * rows + 0.9)
    for axes, (name, title, percent) in zip(figure.subplots(rows, 2).flat, panels, strict=True):
        _draw_curves(axes, comparison, name, percent)
        axes.set_title(title)
        if not percent or name in ("found", "false_alarms"):
            axes.set_ylim(bottom=0)
        if name == "found":
            axes.set_ylim(top=103)
    handles = _make_handles(comparison)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False)
    figure.suptitle(_make_title(comparison), fontsize=12, fontweight="bold")
    return figure


def _make_figure(width: float, height: float) -> Any:
    """Returns a figure without a window and without the global state of pyplot."""
    return extras.load("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _make_title(comparison: Comparison) -> str:
    """Returns a title that names the data, the model and the training."""
    settings, seeds = comparison.settings, len(comparison.settings.seeds)
    return (
        f"{comparison.facts['name']}, {describe_noise(comparison)} · {comparison.facts['model']}"
        f" · {settings.epochs} epochs"
        f" · {seeds} seed{'s' if seeds > 1 else ''}"
    )


def _choose_style(comparison: Comparison, label: str) -> dict[str, Any]:
    """Returns the color and the line style of a method, which are the same in every picture."""
    if label == "plain":
        return {"color": _PLAIN, "linestyle": "-", "linewidth": 2}
    number = comparison.labels.index(label) - 1
    style = _STYLES[number // len(_COLOURS) % len(_STYLES)]
    return {"color": _COLOURS[number % len(_COLOURS)], "linestyle": style, "linewidth": 2}


def _draw_curves(axes: Any, comparison: Comparison, name: str, percent: bool) -> None:
    """Draws the mean over seeds as a line per method, in a band from the lowest to the highest seed."""
    factor = 100 if percent else 1
    for label in comparison.labels:
        curves = [run.history[name] for run in comparison.scored if run.label == label and name in run.history]
        if not curves:
            continue
        values = factor * np.asarray(curves, dtype=np.float64)
        epochs = np.arange(1, values.shape[1] + 1)
        style = _choose_style(comparison, label)
        marker = "o" if len(epochs) == 1 else None
        axes.plot(epochs, values.mean(axis=0), label=format_label(label), marker=marker, **style)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.18, linewidth=0)
    _finish(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("%" if percent else "")


def _draw_choices(axes: Any, comparison: Comparison, name: str, percent: bool) -> None:
    """Draws the mean and interval of each method at the last epoch (filled) and at the chosen epoch (hollow)."""
    factor = 100 if percent else 1
    for position, label in enumerate(comparison.labels):
        colour = _choose_style(comparison, label)["color"]
        for choice, offset in (("last", -0.15), ("chosen", 0.15)):
            figures = [run.figure(name, choice) for run in comparison.scored if run.label == label]
            values = [factor * value for value in figures if value is not None]
            if not values:
                continue
            result, height = estimate(values), position + offset
            face = colour if choice == "last" else "white"
            axes.errorbar(
                result.mean, height, xerr=result.half_width, fmt="o" if choice == "last" else "D", color=colour,
                markerfacecolor=face, markersize=8, capsize=3, elinewidth=1.4, zorder=3,
            )  # fmt: skip
            axes.scatter(values, [height] * len(values), s=12, color=colour, alpha=0.45, linewidths=0, zorder=2)
    axes.set_yticks(range(len(comparison.labels)), [format_label(label, lines=True) for label in comparison.labels])
    # The colored names are also the legend of the curves.
    for text, label in zip(axes.get_yticklabels(), comparison.labels, strict=True):
        text.set(color=_choose_style(comparison, label)["color"], fontweight="bold")
    axes.set_ylim(len(comparison.labels) - 0.5, -0.5)
    axes.set_xlabel("%" if percent else "")
    _finish(axes)


def _draw_summary_legend(figure: Any, comparison: Comparison) -> None:
    """Draws a legend of filled and hollow markers, bars and small dots."""
    line = extras.load("matplotlib.lines").Line2D
    several = len(comparison.settings.seeds) > 1
    interval = ", mean and 95 % interval over seeds (small dots)" if several else ""
    markers = [
        line([], [], marker="o", linestyle="", color="#333333", markersize=8, label=f"last epoch{interval}"),
        line([], [], marker="D", linestyle="", color="#333333", markerfacecolor="white", markersize=8,
             label="epoch chosen on the noisy validation split"),
    ]  # fmt: skip
    figure.legend(handles=markers, loc="outside lower right", ncols=2, frameon=False, fontsize=9)


def _make_handles(comparison: Comparison) -> list[Any]:
    """Returns the entries of a legend of methods."""
    line = extras.load("matplotlib.lines").Line2D
    return [line([], [], **_choose_style(comparison, label), label=format_label(label)) for label in comparison.labels]


def _finish(axes: Any) -> None:
    """Adds a light grid and removes the box."""
    axes.grid(True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
