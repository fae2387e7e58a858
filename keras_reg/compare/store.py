"""The folder of a comparison: every file whole or not there, finished runs kept for `--resume`."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from keras_reg.compare.errors import InputError, one_line
from keras_reg.compare.runs import Run

RESULTS = "results.json"
_RUNS = "runs"
_HISTORY = "history"
_PROBE = ".keras_reg-probe"
_WRITTEN = (
    "results.csv", "suspected.csv", "index.html", "summary.png", "learning-curves.png", "suspected-labels.png",
    RESULTS,
)  # fmt: skip


class Store:
    """The files of one comparison.

    Args:
        folder: The folder, or `None` to keep everything in memory.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else pathlib.Path(folder)
        self._runs: dict[str, Run] = {}

    def open(self, arguments: dict[str, Any], resume: bool, overwrite: bool) -> None:
        """Makes the folder ready.

        Args:
            arguments: What decides the results; a comparison is only resumed with the same ones.
            resume: Whether to take over the finished runs.
            overwrite: Whether to remove the results that are there.

        Raises:
            InputError: If the folder cannot be written, or holds results that are not to be touched.
        """
        if self.folder is None:
            return
        try:
            (self.folder / _RUNS).mkdir(parents=True, exist_ok=True)
            (self.folder / _HISTORY).mkdir(exist_ok=True)
            self.write(_PROBE, b"")
            (self.folder / _PROBE).unlink()
        except OSError as error:
            raise InputError(f"the folder {str(self.folder)!r} cannot be written: {one_line(error)}") from error
        if not (self.folder / RESULTS).exists():
            return
        if resume:
            self._take_over(arguments)
        elif overwrite:
            self._stored_arguments()
            self._remove_results()
        else:
            raise InputError(f"{str(self.folder)!r} already holds results; add --resume, --overwrite or another --out")

    def _take_over(self, arguments: dict[str, Any]) -> None:
        """Reads the finished runs, if they belong to the same comparison."""
        folder = self.folder or pathlib.Path()
        stored = self._stored_arguments()
        try:
            runs = [Run(**json.loads(path.read_text("utf-8"))) for path in sorted((folder / _RUNS).glob("*.json"))]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"the runs in {str(folder)!r} cannot be read: {one_line(error)}") from error
        for name in sorted(stored.keys() | arguments.keys()):
            before, now = stored.get(name), arguments.get(name)
            if before != now:
                raise InputError(
                    f"cannot resume {str(folder)!r}: {name.replace('_', '-')} was {before!r} and is now {now!r}"
                )
        self._runs = {run.key: run for run in runs}

    def _stored_arguments(self) -> dict[str, Any]:
        """The arguments of the comparison that the folder holds; also the proof that it holds one."""
        folder = self.folder or pathlib.Path()
        try:
            return dict(json.loads((folder / RESULTS).read_text("utf-8"))["arguments"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{str(folder / RESULTS)!r} is not a comparison's: {one_line(error)}") from error

    def _remove_results(self) -> None:
        """Removes what an earlier comparison wrote, and nothing else."""
        folder = self.folder or pathlib.Path()
        for path in [*(folder / _RUNS).glob("*-seed*.json"), *(folder / _HISTORY).glob("*-seed*.csv")]:
            path.unlink()
        for name in _WRITTEN:
            (folder / name).unlink(missing_ok=True)

    def get(self, key: str) -> Run | None:
        """A finished run, if there is one of this name."""
        return self._runs.get(key)

    def add(self, run: Run) -> None:
        """Keeps a finished run."""
        self._runs[run.key] = run
        names = list(run.history)
        rows = zip(*run.history.values(), strict=True)
        self.write_csv(f"{_HISTORY}/{run.key}.csv", ["epoch", *names], ([i + 1, *row] for i, row in enumerate(rows)))
        self.write_json(f"{_RUNS}/{run.key}.json", dataclasses.asdict(run))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file under a temporary name, then renames it: nobody ever sees half of it."""
        if self.folder is None:
            return
        path = self.folder / name
        temporary = path.with_name(f".{path.name}.part")
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def write_json(self, name: str, content: Any) -> None:
        """Writes JSON."""
        self.write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes comma-separated values; an empty cell is a figure that does not exist."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(["" if value is None else value for value in row] for row in rows)
        self.write(name, text.getvalue().encode())
