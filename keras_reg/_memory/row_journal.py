"""What rows of a file were at its checkpoints, in files beside it. NumPy alone."""

from __future__ import annotations

import os
import pathlib

import numpy as np


class RowJournal:
    """For each of a few checkpoints a file of the rows that were overwritten after it, as they were before.

    Args:
        path: The file of the rows, `....undo-<name of the checkpoint>` being the journals.
        values: The rows, shape (num_samples, width).
        visited: Which of them were ever written, shape (num_samples,).
    """

    def __init__(self, path: pathlib.Path, values: np.ndarray, visited: np.ndarray) -> None:
        self._path, self._values, self._visited = path, values, visited
        self._record = np.dtype([("row", "<i8"), ("visited", "?"), ("values", values.dtype, values.shape[1:])])
        self._file: pathlib.Path | None = None
        self._has = np.zeros(len(values), bool)

    def path_for(self, name: np.ndarray) -> pathlib.Path:
        """The journal of a checkpoint."""
        return self._path.with_name(f"{self._path.name}.undo-{np.asarray(name, '<i4').tobytes().hex()}")

    def begin(self, name: np.ndarray) -> None:
        """Begins the journal of a checkpoint, which is that of the present rows. Before the first, none is kept."""
        self._file = self.path_for(name)
        self._file.write_bytes(b"")
        self._has[:] = False

    def log_before_write(self, rows: np.ndarray) -> None:
        """Writes down rows that will be overwritten, each once."""
        if self._file is None:
            return
        rows = np.unique(rows[~self._has[rows]])
        records = np.empty(len(rows), self._record)
        records["row"], records["visited"], records["values"] = rows, self._visited[rows], self._values[rows]
        with open(self._file, "ab") as file:
            file.write(records.tobytes())
        self._has[rows] = True

    def undo(self, name: np.ndarray) -> None:
        """Gives rows what they were at a checkpoint, if they are those of the next one, or of now."""
        # A record that was cut off is of a row that was not written any more.
        complete = os.path.getsize(self.path_for(name)) // self._record.itemsize
        if not complete:
            return
        records = np.memmap(self.path_for(name), self._record, "r", shape=(complete,))
        for start in range(0, complete, 256):
            block = records[start : start + 256]
            self._values[block["row"]], self._visited[block["row"]] = block["values"], block["visited"]
