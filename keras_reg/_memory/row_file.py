"""Rows of a table in a memory-mapped file that can return to its checkpoints. It uses only NumPy."""

from __future__ import annotations

import mmap
import os
import pathlib
import uuid

import numpy as np

from keras_reg._memory.row_journal import RowJournal
from keras_reg._types import Array, ArrayLike

_PAGE = 4096
_MAGIC = b"keras_reg rows 1"
_HEADER = np.dtype(
    [
        ("magic", "S16"),
        ("dtype", "S16"),
        ("shape", "<i8", (2,)),
        # The names of the latest two checkpoints. A missing checkpoint has the name zero.
        ("latest", "<i4", (4,)),
        ("previous", "<i4", (4,)),
        # True if rows were written after the latest checkpoint.
        ("written", "?"),
        # A number that identifies the training run that claimed the file last.
        ("owner", "<i4", (4,)),
    ]
)


class RowFile:
    """Stores a (num_samples, width) table in a file, with a mark for each row that was written.

    From the first checkpoint on, each row goes to a journal beside the file before it is overwritten, once per row and
    checkpoint. The file can therefore return to either of its latest two checkpoints, whenever the process is killed.
    Two are kept because the process may be killed while it writes the latest one.

    Args:
        path: String. The path of the file. The file is created if it does not exist.
        num_samples: Integer. The number of rows.
        width: Integer. The number of values in a row.
        dtype: String. The NumPy data type of the values.

    Raises:
        ValueError: If the file cannot be created or opened, or contains another table.
    """

    def __init__(self, path: str, num_samples: int, width: int, dtype: str) -> None:
        self.path, self.num_samples = pathlib.Path(path), num_samples
        values_at = _PAGE + -(-num_samples // _PAGE) * _PAGE
        size = values_at + num_samples * width * np.dtype(dtype).itemsize
        # `mmap` is used instead of `np.memmap`, because it can tell the operating system how the file will be read.
        self._map = self._open(size, (num_samples, width), dtype)
        self._header = np.frombuffer(self._map, _HEADER, 1)
        if self._header["magic"][0] != _MAGIC or self._read_description() != ((num_samples, width), dtype):
            raise ValueError(
                f"`file` must contain a table of this method with {num_samples} rows of {width} values of {dtype}. "
                f"Use another file, or delete this one. Received: file={path!r} of {self._map.size()} bytes"
            )
        self._visited = np.frombuffer(self._map, "?", num_samples, _PAGE)
        self._values = np.frombuffer(self._map, dtype, num_samples * width, values_at).reshape(num_samples, width)
        self._values_at = values_at
        self._journal = RowJournal(self.path, self._values, self._visited)
        self._owner = np.zeros(4, "<i4")
        # True if the file is empty or a matching checkpoint was loaded.
        self._is_current = not (self._header["written"][0] or self._header["latest"].any())

    @property
    def values(self) -> Array:
        """Returns a read-only view of the table in the file, shape (num_samples, width)."""
        values = self._values.view()
        values.flags.writeable = False
        return values

    @property
    def visited(self) -> Array:
        """Returns a copy of the marks, shape (num_samples,), bool: True for each row that was ever written."""
        return self._visited.copy()

    def begin(self) -> None:
        """Claims the file for a training run, or continues the run that has claimed it.

        Raises:
            ValueError: If the file has rows and no matching checkpoint was loaded, or if another training run has
                claimed the file since.
        """
        if not self._is_current:
            raise ValueError(
                "`file` contains rows of another training run, which are not overwritten. To continue that run, load a "
                "checkpoint that was written with this file, as `keras.callbacks.BackupAndRestore` does. To start "
                f"again, delete the file. Received: file={str(self.path)!r}"
            )
        if not self._owner.any():
            self._header["owner"] = self._owner = _create_name()
        self._check_owner()

    def read(self, rows: ArrayLike) -> tuple[Array, Array]:
        """Returns rows by number, and True for those that were written; zeros and False from `num_samples` on."""
        rows = np.asarray(rows)
        known = rows < self.num_samples
        self.prefetch(rows)
        rows = np.where(known, rows, 0)
        values = self._values[rows]
        values[~known] = 0
        return values, self._visited[rows] & known

    def write(self, rows: ArrayLike, values: ArrayLike) -> None:
        """Overwrites rows by number. Repeated rows need equal values. Numbers from `num_samples` on are ignored."""
        self._check_owner()
        rows = np.asarray(rows)
        known = rows < self.num_samples
        rows, values = rows[known], np.asarray(values)[known]
        self._journal.log_before_write(rows)
        self._header["written"] = True
        self._values[rows] = values
        self._visited[rows] = True

    def prefetch(self, rows: ArrayLike) -> None:
        """Asks the operating system to read rows from the disk, without waiting for them."""
        if not hasattr(mmap, "MADV_WILLNEED"):  # Windows does not have `madvise`.
            return
        width = self._values.strides[0]
        for row in np.asarray(rows).tolist():
            if 0 <= row < self.num_samples:
                begin = self._values_at + row * width
                aligned = begin - begin % mmap.PAGESIZE
                self._map.madvise(mmap.MADV_WILLNEED, aligned, begin + width - aligned)

    def checkpoint(self) -> Array:
        """Writes a checkpoint of the current rows to the disk.

        Returns:
            Four numbers, int32: the name of the checkpoint, for `rollback`.

        Raises:
            ValueError: If another training run has claimed the file.
        """
        self._check_owner()
        header = self._header
        if header["written"][0] or not header["latest"].any():
            self._map.flush()
            outdated = self._journal.path_for(header["previous"][0])
            name = _create_name()
            self._journal.begin(name)
            header["previous"], header["latest"], header["written"] = header["latest"].copy(), name, False
            outdated.unlink(missing_ok=True)
        return np.array(header["latest"][0], "int32")

    def rollback(self, name: Array) -> None:
        """Restores the rows to their state at one of the latest two checkpoints.

        Args:
            name: Array. The result of `checkpoint`.

        Raises:
            ValueError: If the checkpoint is not one of the latest two of this file, or if a journal is missing.
        """
        header = self._header
        latest, previous = header["latest"][0].copy(), header["previous"][0].copy()
        is_latest, steps = np.array_equal(name, latest), [latest, previous]
        if is_latest:
            steps = steps[:1] if header["written"][0] else []
        known = is_latest or np.array_equal(name, previous)
        if not known or not all(self._journal.path_for(step).exists() for step in steps):
            raise ValueError(
                "The checkpoint does not match `file`. A file can only be restored to its latest two checkpoints, with "
                f"the files {self.path.name}.undo-* beside it. Load one of these checkpoints, or delete the file to "
                f"start without rows. Received: file={str(self.path)!r}"
            )
        for step in steps:
            self._journal.undo(step)
        if len(steps) == 2:
            header["latest"], header["previous"] = previous, 0
            self._journal.path_for(latest).unlink()
        self._journal.begin(name)
        header["written"] = False
        header["owner"] = self._owner = _create_name()
        self._is_current = True

    def _open(self, size: int, shape: tuple[int, int], dtype: str) -> mmap.mmap:
        try:
            if not self.path.exists():
                self._create(size, shape, dtype)
            with open(self.path, "r+b") as file:
                size_on_disk = os.fstat(file.fileno()).st_size
                if size_on_disk != size:
                    raise ValueError(
                        f"`file` must have the size of a table of {shape[0]} rows of {shape[1]} values of {dtype}, "
                        f"{size} bytes. Use another file, or delete this one. "
                        f"Received: file={str(self.path)!r} of {size_on_disk} bytes"
                    )
                mapped = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise ValueError(
                "`file` must be the path of a file that can be written, in a folder that exists, on a disk with "
                f"{size} bytes of free space. Received: file={str(self.path)!r} ({error})"
            ) from error
        if hasattr(mmap, "MADV_RANDOM"):
            # A step does not need the neighbors of its rows, so the system should not read them ahead.
            mapped.madvise(mmap.MADV_RANDOM)
        return mapped

    def _create(self, size: int, shape: tuple[int, int], dtype: str) -> None:
        with open(self.path, "xb") as file:
            try:
                # Space is allocated now, because a disk that fills up later would kill the process without a message.
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
                "Another callback or training run has begun to write to `file`. Each needs its own file. "
                f"Received: file={str(self.path)!r}"
            )

    def _read_description(self) -> tuple[tuple[int, int], str]:
        rows, width = (int(size) for size in self._header["shape"][0])
        return (rows, width), self._header["dtype"][0].decode()


def _create_name() -> Array:
    return np.frombuffer(uuid.uuid4().bytes, "<i4")
