"""Draws images with their given labels and the labels that a method suggests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keras_reg.compare import extras
from keras_reg.compare.noise import parse_noise
from keras_reg.compare.results import Comparison
from keras_reg.compare.runs import Run
from keras_reg.compare.splits import Part, split

_COLUMNS = 10
_ROWS = 3
_RIGHT, _WRONG = "#00714f", "#b5380a"


def draw_suspected_labels(comparison: Comparison) -> Any:
    """Draws the suspected labels of the first run that has any.

    The first group of images has the suspected labels with the largest margins. If the true labels are known, the next
    groups have correct labels that the method suspects and wrong labels that it misses.

    Args:
        comparison: The comparison.

    Returns:
        A matplotlib figure, or `None` if there is nothing to draw.
    """
    run = next((run for run in comparison.scored if run.suspects and run.suspects["index"]), None)
    if run is None or run.suspects is None or not comparison.dataset.is_image:
        return None
    settings = comparison.settings
    part = split(comparison.dataset, parse_noise(settings.noise), run.seed, settings.max_samples).train
    groups = _make_groups(run.suspects, part)
    lines = sum(-(-len(rows) // _COLUMNS) for _, rows in groups)
    width = 1.15 * _COLUMNS
    height = 1.42 * lines + 0.32 * len(groups)
    figure = extras.load("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    heights = [-(-len(rows) // _COLUMNS) + 0.25 for _, rows in groups]
    subfigures = np.atleast_1d(figure.subfigures(len(groups), 1, height_ratios=heights))
    for subfigure, (title, rows) in zip(subfigures, groups, strict=True):
        subfigure.suptitle(title, fontsize=10.5, fontweight="bold", x=0.01, ha="left")
        grid = subfigure.subplots(-(-len(rows) // _COLUMNS), _COLUMNS, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, row in zip(grid.flat, rows, strict=False):
            _draw(axes, row, part, run, comparison.dataset.class_names)
    return figure


def _make_groups(suspects: dict[str, list[Any]], part: Part) -> list[tuple[str, list[int]]]:
    """Returns the title of each group, and the rows of the training part to show below it."""
    row_of = {int(index): row for row, index in enumerate(part.index)}
    rows = [row_of[index] for index in suspects["index"]]
    if not part.wrong.any():
        return [(f"Largest margins of {len(rows):,} suspected labels", rows[: _ROWS * _COLUMNS])]
    false_alarms = [row for row in rows if not part.wrong[row]]
    missed = sorted(set(np.flatnonzero(part.wrong).tolist()) - set(rows))
    wrong = len(rows) - len(false_alarms)
    title = f"Largest margins of {len(rows):,} suspected labels ({wrong:,} of them are wrong)"
    groups = [(title, rows[: _ROWS * _COLUMNS])]
    if false_alarms:
        groups.append((f"False alarms: {_count_labels(len(false_alarms), 'correct')} suspected", false_alarms))
    if missed:
        groups.append((f"Missed: {_count_labels(len(missed), 'wrong')} not suspected", missed))
    return [groups[0], *((title, members[:_COLUMNS]) for title, members in groups[1:])]


def _count_labels(count: int, kind: str) -> str:
    """Returns a phrase with the number of labels of a kind, and with the number of shown labels if it is smaller."""
    shown = f" ({_COLUMNS} of them shown)" if count > _COLUMNS else ""
    return f"{count:,} {kind} label{'s' if count > 1 else ''}{shown} {'are' if count > 1 else 'is'}"


def _draw(axes: Any, row: int, part: Part, run: Run, names: tuple[str, ...]) -> None:
    """Draws an image with its given label, and with the suggested label or the true label."""
    image: npt.NDArray[np.float32] = np.clip(part.x[row], 0, 1)
    grey = image.shape[-1] != 3
    axes.imshow(image[..., 0] if grey else image, cmap="gray_r" if grey else None, vmin=0, vmax=1)
    suspects = run.suspects or {"index": []}
    title = f"given {names[part.labels[row]]}"
    if int(part.index[row]) in suspects["index"]:
        suggested = suspects["suggested"][suspects["index"].index(int(part.index[row]))]
        colour = _RIGHT if suggested == part.true_labels[row] else _WRONG
        title += f"\nlikely {names[suggested]}"
    else:
        colour = _WRONG
        title += f"\ntrue {names[part.true_labels[row]]}"
    known = bool(part.wrong.any())
    axes.set_title(title, fontsize=8, color=colour if known else "black", pad=3, linespacing=1.05)
