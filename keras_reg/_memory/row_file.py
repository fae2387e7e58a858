"""Rows of a table in a memory-mapped file that goes back to its checkpoints. NumPy alone."""

from __future__ import annotations

import mmap
import os
import pathlib
import uuid
from typing import Any

import numpy as np

from keras_reg._memory.row_journal import RowJournal

_PAGE = 4096
_MAGIC = b"keras_reg rows 1"
_HEADER = np.dtype(
    [
        ("magic", "S16"),
        ("dtype", "S16"),
        ("shape", "<i8", (2,)),
        # The latest two checkpoints, zeros where there is none, and whether rows were written after the latest one.
        ("latest", "<i4", (4,)),
        ("previous", "<i4", (4,)),
        ("written", "?"),
        # Who writes to the file: a number of the latest one that began to.
        ("owner", "<i4", (4,)),
    ]
)


class RowFile:
    """A (num_samples, width) table in a file, with a mark of the rows that were written.

    From the first checkpoint on, what a write replaces goes into a journal beside the file first, once for each row
    and checkpoint. So the file can go back to either of the latest two checkpoints, whenever the process was killed:
    two, because it may be killed while the latest one is being written.

    Args:
        path: The file. It is made if it is not there.
        num_samples: The number of rows.
        width: The number of values in a row.
        dtype: The type of the values, of NumPy.

    Raises:
        ValueError: If the file cannot be made or opened, or is one of another table.
    """

    def __init__(self, path: str, num_samples: int, width: int, dtype: str) -> None:
        self.path, self.num_samples = pathlib.Path(path), num_samples
        values_at = _PAGE + -(-num_samples // _PAGE) * _PAGE
        size = values_at + num_samples * width * np.dtype(dtype).itemsize
        # `mmap` rather than `np.memmap`: the system can then be told how the file will be read.
        self._map = self._open(size, (num_samples, width), dtype)
        self._header = np.frombuffer(self._map, _HEADER, 1)
        if self._header["magic"][0] != _MAGIC or self._described() != ((num_samples, width), dtype):
            raise ValueError(
                f"The file is no table of this method's rows. Received: {path}, {self._map.size()} bytes, expected "
                f"{num_samples} rows of {width} values of {dtype}. Give another `file`, or delete this one."
            )
        self._visited = np.frombuffer(self._map, "?", num_samples, _PAGE)
        self._values = np.frombuffer(self._map, dtype, num_samples * width, values_at).reshape(num_samples, width)
        self._values_at = values_at
        self._journal = RowJournal(self.path, self._values, self._visited)
        self._owner = np.zeros(4, "<i4")
        # Whether nothing was ever written, or what there is belongs to a checkpoint that was loaded.
        self._current = not (self._header["written"][0] or self._header["latest"].any())

    @property
    def values(self) -> np.ndarray:
        """The table as it is in the file, shape (num_samples, width), read-only."""
        values = self._values.view()
        values.flags.writeable = False
        return values

    @property
    def visited(self) -> np.ndarray:
        """Which rows were ever written, a copy, shape (num_samples,), bool."""
        return self._visited.copy()

    def begin(self) -> None:
        """Takes the file for a training, or goes on with it.

        Raises:
            ValueError: If there are rows in it, and no checkpoint that belongs to them was loaded, or if another
                training has taken it meanwhile.
        """
        if not self._current:
            raise ValueError(
                "The file has rows of another training, which are not overwritten. Go on with it by loading a "
                "checkpoint that was written with this file, as `keras.callbacks.BackupAndRestore` does, or delete it "
                f"to begin anew. Received: file={str(self.path)!r}"
            )
        if not self._owner.any():
            self._header["owner"] = self._owner = _new_name()
        self._check_owner()

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows by number, and whether they were written; zeros and false for `num_samples` and above."""
        rows = np.asarray(rows)
        known = rows < self.num_samples
        self.prefetch(rows)
        rows = np.where(known, rows, 0)
        values = self._values[rows]
        values[~known] = 0
        return values, self._visited[rows] & known

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Overwrites rows by number, which may repeat with equal values; `num_samples` and above are left out."""
        self._check_owner()
        rows = np.asarray(rows)
        known = rows < self.num_samples
        rows, values = rows[known], np.asarray(values)[known]
        self._journal.log_before_write(rows)
        self._header["written"] = True
        self._values[rows] = values
        self._visited[rows] = True

    def prefetch(self, rows: Any) -> None:
        """Asks the system to read rows from the disk, and does not wait for it."""
        if not hasattr(mmap, "MADV_WILLNEED"):  # there is none on Windows
            return
        width = self._values.strides[0]
        for row in np.asarray(rows).tolist():
            if 0 <= row < self.num_samples:
                begin = self._values_at + row * width
                aligned = begin - begin % mmap.PAGESIZE
                self._map.madvise(mmap.MADV_WILLNEED, aligned, begin + width - aligned)

    def checkpoint(self) -> np.ndarray:
        """Makes the present rows those of a new checkpoint, on the disk.

        Returns:
            Four numbers, int32, by which `rollback` knows the checkpoint.

        Raises:
            ValueError: If another training has taken the file.
        """
        self._check_owner()
        header = self._header
        if header["written"][0] or not header["latest"].any():
            self._map.flush()
            outdated = self._journal.path_for(header["previous"][0])
            name = _new_name()
            self._journal.begin(name)
            header["previous"], header["latest"], header["written"] = header["latest"].copy(), name, False
            outdated.unlink(missing_ok=True)
        return np.array(header["latest"][0], "int32")

    def rollback(self, name: np.ndarray) -> None:
        """Takes the rows back to what they were at a checkpoint, one of the latest two.

        Args:
            name: What `checkpoint` returned.

        Raises:
            ValueError: If the file does not know the checkpoint, or has not kept what it takes to go back.
        """
        header = self._header
        latest, previous = header["latest"][0].copy(), header["previous"][0].copy()
        is_latest, back = np.array_equal(name, latest), [latest, previous]
        if is_latest:
            back = back[:1] if header["written"][0] else []
        known = is_latest or np.array_equal(name, previous)
        if not known or not all(self._journal.path_for(one).exists() for one in back):
            raise ValueError(
                "The file of rows and the checkpoint do not belong together: a file goes back to its latest two "
                f"checkpoints only, with the files {self.path.name}.undo-* beside it. Received: {self.path}. Load one "
                "of those, or delete the file to begin without rows."
            )
        for one in back:
            self._journal.undo(one)
        if len(back) == 2:
            header["latest"], header["previous"] = previous, 0
            self._journal.path_for(latest).unlink()
        self._journal.begin(name)
        header["written"] = False
        header["owner"] = self._owner = _new_name()
        self._current = True

    def _open(self, size: int, shape: tuple[int, int], dtype: str) -> mmap.mmap:
        try:
            if not self.path.exists():
                self._make(size, shape, dtype)
            with open(self.path, "r+b") as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    raise ValueError(
                        f"The file has another size than a table of {shape[0]} rows of {shape[1]} values of {dtype}, "
                        f"{size} bytes. Received: {self.path} of {found} bytes. Give another `file`, or delete this one"
                    )
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise ValueError(
                f"The file of rows must be one that can be written, in a folder that exists, with {size} bytes of room "
                f"on the disk. Received: file={str(self.path)!r} ({error})"
            ) from error
        if hasattr(mmap, "MADV_RANDOM"):
            mapped.madvise(mmap.MADV_RANDOM)  # rows beside the one that is read are of no use
        return mapped

    def _make(self, size: int, shape: tuple[int, int], dtype: str) -> None:
        with open(self.path, "xb") as file:
            try:
                # A disk that fills up later would kill the process, which cannot be told from a fault of its own.
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                file.truncate(size)
                header = np.zeros(1, _HEADER)
                header["magic"], header["dtype"], header["shape"] = _MAGIC, dtype.encode(), shape
                file.write(header.tobytes())
            except OSError:
                self.path.unlink()
                raise

    def _check_owner(self) -> None:
        if not np.array_equal(self._header["owner"][0], self._owner):
            raise ValueError(
                "Another callback, or another training, has begun to write to this file: give each of them one of its "
                f"own. Received: file={str(self.path)!r}"
            )

    def _described(self) -> tuple[tuple[int, int], str]:
        rows, width = (int(size) for size in self._header["shape"][0])
        return (rows, width), self._header["dtype"][0].decode()


def _new_name() -> np.ndarray:
    return np.frombuffer(uuid.uuid4().bytes, "<i4")
