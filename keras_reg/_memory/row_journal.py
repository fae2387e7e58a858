"""Previous values of overwritten rows, in files beside the file of the rows. It uses only NumPy."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from keras_reg._types import Array


class RowJournal:
    """Keeps one file for each of a few checkpoints, with the rows that were overwritten after it.

    The file contains the values of these rows at the checkpoint.

    Args:
        path: A `pathlib.Path`. The file of the rows. Journals are named `....undo-<name of the checkpoint>`.
        values: Array. The rows, shape (num_samples, width).
        visited: Array. True for rows that were ever written, shape (num_samples,).
    """

    def __init__(self, path: pathlib.Path, values: Array, visited: Array) -> None:
        self._path, self._values, self._visited = path, values, visited
        self._record = np.dtype([("row", "<i8"), ("visited", "?"), ("values", values.dtype, values.shape[1:])])
        self._file: pathlib.Path | None = None
        self._logged = np.zeros(len(values), bool)

    def path_for(self, name: Array) -> pathlib.Path:
        """Returns the path of the journal of a checkpoint."""
        return self._path.with_name(f"{self._path.name}.undo-{np.asarray(name, '<i4').tobytes().hex()}")

    def begin(self, name: Array) -> None:
        """Starts the journal of a checkpoint of the current rows. There is no journal before the first checkpoint."""
        self._file = self.path_for(name)
        self._file.write_bytes(b"")
        self._logged[:] = False

    def log_before_write(self, rows: Array) -> None:
        """Writes the current values of rows that will be overwritten, once per row and checkpoint."""
        if self._file is None:
            return
        rows = np.unique(rows[~self._logged[rows]])
        records = np.empty(len(rows), self._record)
        records["row"], records["visited"], records["values"] = rows, self._visited[rows], self._values[rows]
        with open(self._file, "ab") as file:
            file.write(records.tobytes())
        self._logged[rows] = True

    def undo(self, name: Array) -> None:
        """Restores the rows of a checkpoint, if they are currently those of the next checkpoint or later."""
        # A truncated last record is ignored: its row was never overwritten.
        complete = os.path.getsize(self.path_for(name)) // self._record.itemsize
        if not complete:
            return
        records = np.memmap(self.path_for(name), self._record, "r", shape=(complete,))
        for start in range(0, complete, 256):
            block = records[start : start + 256]
            self._values[block["row"]], self._visited[block["row"]] = block["values"], block["visited"]
