"""The folder of a comparison. Files are written atomically, and finished runs are kept for `--resume`."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from keras_reg.compare.errors import InputError, format_error
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
    """Reads and writes the files of one comparison.

    Args:
        folder: The folder, or `None` to keep everything in memory.
    """

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = None if folder is None else pathlib.Path(folder)
        self._runs: dict[str, Run] = {}

    def open(self, arguments: dict[str, Any], resume: bool, overwrite: bool) -> None:
        """Prepares the folder.

        Args:
            arguments: Everything that determines the results. A comparison can only be resumed with equal arguments.
            resume: Whether to load the finished runs.
            overwrite: Whether to remove existing results.

        Raises:
            InputError: If the folder cannot be written, or contains results that must not be changed.
        """
        if self.folder is None:
            return
        try:
            (self.folder / _RUNS).mkdir(parents=True, exist_ok=True)
            (self.folder / _HISTORY).mkdir(exist_ok=True)
            self.write(_PROBE, b"")
            (self.folder / _PROBE).unlink()
        except OSError as error:
            raise InputError(f"the folder {str(self.folder)!r} cannot be written: {format_error(error)}") from error
        if not (self.folder / RESULTS).exists():
            return
        if resume:
            self._load_runs(arguments)
        elif overwrite:
            # This raises if the folder does not contain a comparison.
            self._read_arguments()
            self._remove_results()
        else:
            raise InputError(
                f"{str(self.folder)!r} already contains results; add --resume, --overwrite or another --out"
            )

    def _load_runs(self, arguments: dict[str, Any]) -> None:
        """Loads the finished runs, or raises an `InputError` if they belong to another comparison."""
        folder = self.folder or pathlib.Path()
        stored = self._read_arguments()
        try:
            runs = [Run(**json.loads(path.read_text("utf-8"))) for path in sorted((folder / _RUNS).glob("*.json"))]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"the runs in {str(folder)!r} cannot be read: {format_error(error)}") from error
        for name in sorted(stored.keys() | arguments.keys()):
            old, new = stored.get(name), arguments.get(name)
            if old != new:
                raise InputError(
                    f"cannot resume {str(folder)!r}: {name.replace('_', '-')} was {old!r} and is now {new!r}"
                )
        self._runs = {run.key: run for run in runs}

    def _read_arguments(self) -> dict[str, Any]:
        """Returns the arguments of the comparison in the folder, or raises an `InputError` if there is none."""
        folder = self.folder or pathlib.Path()
        try:
            return dict(json.loads((folder / RESULTS).read_text("utf-8"))["arguments"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{str(folder / RESULTS)!r} does not belong to a comparison: {format_error(error)}"
            ) from error

    def _remove_results(self) -> None:
        """Removes the files of an earlier comparison and no other files."""
        folder = self.folder or pathlib.Path()
        for path in [*(folder / _RUNS).glob("*-seed*.json"), *(folder / _HISTORY).glob("*-seed*.csv")]:
            path.unlink()
        for name in _WRITTEN:
            (folder / name).unlink(missing_ok=True)

    def get(self, key: str) -> Run | None:
        """Returns the finished run with this name, or `None`."""
        return self._runs.get(key)

    def add(self, run: Run) -> None:
        """Stores a finished run."""
        self._runs[run.key] = run
        names = list(run.history)
        rows = zip(*run.history.values(), strict=True)
        self.write_csv(f"{_HISTORY}/{run.key}.csv", ["epoch", *names], ([i + 1, *row] for i, row in enumerate(rows)))
        self.write_json(f"{_RUNS}/{run.key}.json", dataclasses.asdict(run))

    def write(self, name: str, content: bytes) -> None:
        """Writes a file atomically: it is written under a temporary name and then renamed."""
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
        """Writes a JSON file."""
        self.write(name, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    def write_csv(self, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Writes a CSV file, with an empty cell for a missing figure."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(["" if value is None else value for value in row] for row in rows)
        self.write(name, text.getvalue().encode())
