"""Progress on stderr: bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from typing import Any

from keras_reg.compare import extras
from keras_reg.compare.errors import InputError


class Progress:
    """Says nothing; the others say more."""

    def begin(self, total: int) -> None:
        """A comparison of so many runs begins."""

    def start_run(self, title: str, epochs: int) -> None:
        """A run begins."""

    def epoch(self, figures: dict[str, float | None]) -> None:
        """A run has finished an epoch."""

    def end_run(self, summary: str) -> None:
        """A run has finished."""

    def close(self) -> None:
        """The comparison is over, or was stopped."""


class Lines(Progress):
    """One line per run, for log files."""

    def __init__(self) -> None:
        self._total = self._done = 0
        self._title = ""

    def begin(self, total: int) -> None:
        """Remembers how many runs there are."""
        self._total = total

    def start_run(self, title: str, epochs: int) -> None:
        """Remembers the run's title."""
        self._title = title

    def end_run(self, summary: str) -> None:
        """Prints the run's line."""
        self._done += 1
        print(f"[{self._done}/{self._total}] {self._title}: {summary}", file=sys.stderr, flush=True)


class Bars(Progress):
    """Two bars: the runs, and the epochs of the current one."""

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
        """Shows the bar of the run's epochs."""
        self._title = title
        self._epochs = self._bars.add_task(title, total=epochs, note="")

    def epoch(self, figures: dict[str, float | None]) -> None:
        """Moves the bar of the run."""
        accuracy = figures.get("val_accuracy")
        note = "" if accuracy is None else f"validation accuracy {100 * accuracy:.1f} %"
        self._bars.update(self._epochs, advance=1, note=note)

    def end_run(self, summary: str) -> None:
        """Replaces the run's bar by a line."""
        self._bars.remove_task(self._epochs)
        self._bars.console.print(f"{self._title}: {summary}", highlight=False, markup=False)
        self._bars.update(self._runs, advance=1)

    def close(self) -> None:
        """Takes the bars away."""
        self._bars.stop()


def make_progress(shown: bool) -> Progress:
    """The progress that suits stderr: bars on a terminal (with rich), plain lines elsewhere."""
    if not shown:
        return Progress()
    if not sys.stderr.isatty():
        return Lines()
    try:
        return Bars()
    except InputError:
        return Lines()
