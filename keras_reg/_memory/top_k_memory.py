"""A table that keeps the largest class probabilities of each sample."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.row_access import create_row_variable
from keras_reg._types import Array, Tensor
from keras_reg.ops.top_k_rows import keep_top_k, spread_top_k

_BLOCK = 2**16


class TopKMemory(PerSampleMemory):
    """Keeps the `k` largest values of each row with their classes, and the mean of the other values.

    Reading spreads the rest uniformly over the other classes. If `k` is the number of classes, or one less, rows are
    read exactly as they were written. Otherwise the kept values and the sum of the row are exact.

    Args:
        num_samples: Integer. The number of rows.
        num_classes: Integer. The number of classes.
        k: Integer. The number of classes to keep in each row, from 1 to `num_classes`.
        length: Integer. The number of distributions of a sample, for sequences. A row is `length` times as wide.
            Defaults to `1`.
        dtype: String. The data type of the kept values. The rest is stored in float32 or wider. Defaults to
            `"float32"`.
        name: String. The name of the table in checkpoints. Defaults to `"memory"`.
        sharded: Boolean. Whether each replica or device holds only its share of the rows. Defaults to `False`.
    """

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        k: int,
        length: int = 1,
        dtype: str = "float32",
        name: str = "memory",
        sharded: bool = False,
    ) -> None:
        super().__init__(num_samples, length * k, dtype, name, sharded)
        self.k, self.num_classes, self.width = k, num_classes, length * num_classes
        rows = self.values.shape[0]
        places_dtype = "int16" if num_classes <= 2**15 else "int32"
        rest_dtype = "float64" if dtype == "float64" else "float32"
        with keras.name_scope(name):
            self.places = create_row_variable((rows, length * k), places_dtype, "places", self.over_mesh)
            self.rest = create_row_variable((rows, length), rest_dtype, "rest", self.over_mesh)

    def numpy(self) -> Array:
        """Returns all rows, shape (num_samples, width), with the rest spread. The array is as large as a full table."""
        table = np.zeros((self.num_samples, self.width), self.rest.dtype)
        visited = self.numpy_visited()
        values, places, rest = (self.saved(variable) for variable in self._list_columns())
        for start in range(0, self.num_samples, _BLOCK):
            block = slice(start, min(start + _BLOCK, self.num_samples))
            rows = np.repeat(rest[block].reshape(-1, 1), self.num_classes, axis=1)
            kept = values[block].astype(table.dtype).reshape(-1, self.k)
            np.put_along_axis(rows, places[block].astype("int64").reshape(-1, self.k), kept, axis=1)
            table[block] = rows.reshape(-1, self.width) * visited[block, None]
        return table

    def largest(self) -> Array:
        """Returns the class with the largest value in each row, shape (num_samples,).

        In sequences, it is the class of the first step.
        """
        return self.saved(self.places)[: self.num_samples, 0].astype("int64")

    def _list_columns(self) -> list[keras.Variable]:
        return [self.values, self.places, self.rest]

    def _pack(self, values: Tensor) -> list[Tensor]:
        batch = ops.shape(values)[0]
        packed = keep_top_k(ops.reshape(values, (-1, self.num_classes)), self.k)
        # Replicas exchange places as int32, because not every collective operation supports int16.
        dtypes = (self.values.dtype, "int32", self.rest.dtype)
        parts = zip(packed, dtypes, self._list_columns(), strict=True)
        return [ops.cast(ops.reshape(part, (batch, variable.shape[1])), dtype) for part, dtype, variable in parts]

    def _unpack(self, parts: list[Tensor], dtype: str) -> Tensor:
        batch = ops.shape(parts[0])[0]
        values, places = (ops.reshape(part, (-1, self.k)) for part in parts[:2])
        rows = spread_top_k(ops.cast(values, dtype), places, ops.reshape(parts[2], (-1,)), self.num_classes)
        return ops.reshape(rows, (batch, self.width))
