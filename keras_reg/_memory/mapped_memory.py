"""A table whose rows are in a file on the host's disk."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._memory.host import call_on_host, wait_for_host
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.row_access import create_row_variable
from keras_reg._memory.row_file import RowFile
from keras_reg._types import Array, ArrayLike, Tensor


class MappedMemory(PerSampleMemory):
    """Keeps the rows of a `PerSampleMemory` in a memory-mapped file.

    The table may be larger than memory, so the variable `values` does not hold it. `values` is what a checkpoint
    contains: the name of the current state of the file. Loading the checkpoint restores this state of the file.

    Args:
        num_samples: Integer. The number of rows.
        width: Integer. The number of values in a row.
        dtype: String. The data type of stored values.
        name: String. The name of the table in checkpoints.
        file: String. The path of the file.
    """

    def __init__(self, num_samples: int, width: int, dtype: str, name: str, file: str) -> None:
        self.row_file = RowFile(file, num_samples, width, dtype)
        super().__init__(num_samples, width, dtype, name)

    @property
    def bytes_per_sample(self) -> float:
        """Returns the number of bytes per sample in the file, with the mark of visited rows."""
        return float(self.width * np.dtype(self.row_dtype).itemsize + 1)

    def begin(self) -> None:
        """Claims the file for this training run.

        Raises:
            ValueError: If the file contains rows of another training run.
        """
        self.row_file.begin()

    def prefetch(self, ids: ArrayLike) -> None:
        """Asks the operating system to read the rows of coming batches from the disk, without waiting for them."""
        self.row_file.prefetch(ids)

    def numpy(self) -> Array:
        """Returns a read-only view of the table in the file, in the stored type, shape (num_samples, width)."""
        wait_for_host()
        return self.row_file.values

    def numpy_visited(self) -> Array:
        """Returns a boolean array of shape (num_samples,), which is True for each row that was ever written."""
        wait_for_host()
        return self.row_file.visited

    def saved(self, variable: keras.Variable) -> Array:
        """Returns the value of a variable for a checkpoint. For the rows, this is the name of their current state."""
        if variable is not self.values:
            return super().saved(variable)
        wait_for_host()
        return self.row_file.checkpoint()

    def saved_shape(self, variable: keras.Variable) -> tuple[int, ...]:
        """Returns the shape of the result of `saved`."""
        return tuple(variable.shape)

    def restore(self, variable: keras.Variable, array: Array) -> None:
        """Assigns a value that `saved` has returned. For the rows, restores the state of the file with this name."""
        if variable is not self.values:
            super().restore(variable, array)
            return
        wait_for_host()
        self.row_file.rollback(array)

    def _create_rows(self) -> None:
        self.values = create_row_variable((4,), "int32", "values")

    def _look_up(self, rows: Tensor, known: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
        batch = rows.shape[0]
        outputs = [((batch, self.width), self.row_dtype), ((batch,), "bool")]
        values, visited = call_on_host(self.row_file.read, outputs, rows)
        return ops.cast(values, dtype), visited

    def _store(self, rows: Tensor, parts: list[Tensor]) -> None:
        call_on_host(self.row_file.write, [], rows, parts[0])
