"""A table whose rows are in a file on the host's disk."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._memory.host import on_host, wait_for_host
from keras_reg._memory.memory import PerSampleMemory, row_state
from keras_reg._memory.row_file import RowFile


class MappedMemory(PerSampleMemory):
    """A `PerSampleMemory` that reads and writes its rows in a memory-mapped file.

    Its variable `values` is not the table, which may be larger than memory, but what a checkpoint holds of it: the name
    of the state that the file was in, to which loading the checkpoint takes the file back.

    Args:
        num_samples: The number of rows.
        width: The number of values in a row.
        dtype: How values are stored.
        name: The name of the table in checkpoints.
        file: The path of the file.
    """

    def __init__(self, num_samples: int, width: int, dtype: str, name: str, file: str) -> None:
        self.rows = RowFile(file, num_samples, width, dtype)
        super().__init__(num_samples, width, dtype, name)

    @property
    def bytes_per_sample(self) -> float:
        """How many bytes a sample takes in the file, the mark that it was visited included."""
        return float(self.width * np.dtype(self.row_dtype).itemsize + 1)

    def begin(self) -> None:
        """Takes the file for this training.

        Raises:
            ValueError: If it holds rows of another training.
        """
        self.rows.begin()

    def prefetch(self, ids: Any) -> None:
        """Asks the system to read the rows of coming batches from the disk, and does not wait for it."""
        self.rows.prefetch(ids)

    def numpy(self) -> np.ndarray:
        """The table as it is in the file, in the stored type, shape (num_samples, width): read-only, and no copy."""
        wait_for_host()
        return self.rows.values

    def numpy_visited(self) -> np.ndarray:
        """Which rows were ever written, shape (num_samples,), bool."""
        wait_for_host()
        return self.rows.visited

    def saved(self, variable: keras.Variable) -> np.ndarray:
        """One of the variables as a checkpoint holds it; of the rows, the name of their present state."""
        if variable is not self.values:
            return super().saved(variable)
        wait_for_host()
        return self.rows.checkpoint()

    def saved_shape(self, variable: keras.Variable) -> tuple[int, ...]:
        """The shape of what `saved` gives."""
        return tuple(variable.shape)

    def restore(self, variable: keras.Variable, array: np.ndarray) -> None:
        """Gives one of the variables what `saved` took; takes the rows back to the state of that name."""
        if variable is not self.values:
            super().restore(variable, array)
            return
        wait_for_host()
        self.rows.rollback(array)

    def _create_rows(self) -> None:
        self.values = row_state((4,), "int32", "values")

    def _look_up(self, rows: Any, known: Any, dtype: str) -> tuple[Any, Any]:
        batch = rows.shape[0]
        outputs = [((batch, self.width), self.row_dtype), ((batch,), "bool")]
        values, visited = on_host(self.rows.read, outputs, rows)
        return ops.cast(values, dtype), visited

    def _store(self, rows: Any, parts: list[Any]) -> None:
        on_host(self.rows.write, [], rows, parts[0])
