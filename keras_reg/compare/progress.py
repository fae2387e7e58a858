"""Progress on stderr: bars on a terminal, lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from typing import Any

from keras_reg.compare import extras
from keras_reg.compare.errors import InputError


class Progress:
    """Shows no progress. Subclasses show the progress."""

    def begin(self, total: int) -> None:
        """Called with the number of runs when a comparison begins."""

    def start_run(self, title: str, epochs: int) -> None:
        """Called when a run begins."""

    def epoch(self, figures: dict[str, float | None]) -> None:
        """Called after each epoch of a run."""

    def end_run(self, summary: str) -> None:
        """Called when a run has finished."""

    def close(self) -> None:
        """Called when the comparison has finished or was stopped."""


class Lines(Progress):
    """Prints one line per run, for log files."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._title = ""

    def begin(self, total: int) -> None:
        """Stores the number of runs."""
        self._total = total

    def start_run(self, title: str, epochs: int) -> None:
        """Stores the title of the run."""
        self._title = title

    def end_run(self, summary: str) -> None:
        """Prints the line of the run."""
        self._done += 1
        print(f"[{self._done}/{self._total}] {self._title}: {summary}", file=sys.stderr, flush=True)


class Bars(Progress):
    """Shows two bars, one for the runs and one for the epochs of the current run."""

    def __init__(self) -> None:
        rich = extras.load("rich.progress")
        console = extras.load("rich.console").Console(stderr=True)
        self._bars: Any = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeElapsedColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._runs: Any = None
        self._epochs: Any = None
        self._title = ""

    def begin(self, total: int) -> None:
        """Shows the bar of the runs."""
        self._bars.start()
        self._runs = self._bars.add_task("all runs", total=total, note="")

    def start_run(self, title: str, epochs: int) -> None:
        """Shows the bar of the epochs."""
        self._title = title
        self._epochs = self._bars.add_task(title, total=epochs, note="")

    def epoch(self, figures: dict[str, float | None]) -> None:
        """Advances the bar of the epochs."""
        accuracy = figures.get("val_accuracy")
        note = "" if accuracy is None else f"validation accuracy {100 * accuracy:.1f} %"
        self._bars.update(self._epochs, advance=1, note=note)

    def end_run(self, summary: str) -> None:
        """Replaces the bar of the epochs with a line."""
        self._bars.remove_task(self._epochs)
        self._bars.console.print(f"{self._title}: {summary}", highlight=False, markup=False)
        self._bars.update(self._runs, advance=1)

    def close(self) -> None:
        """Removes the bars."""
        self._bars.stop()


def make_progress(shown: bool) -> Progress:
    """Returns bars if stderr is a terminal and rich is installed, and otherwise lines."""
    if not shown:
        return Progress()
    if not sys.stderr.isatty():
        return Lines()
    try:
        return Bars()
    except InputError:
        return Lines()
