"""A table that keeps the largest class probabilities of each sample."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._memory.memory import PerSampleMemory, row_state
from keras_reg.ops.top_k_rows import keep_top_k, spread_top_k

_BLOCK = 2**16


class TopKMemory(PerSampleMemory):
    """A `PerSampleMemory` that keeps `k` values and their classes of each row, and the mean of the others.

    Reading spreads the rest uniformly. With `k` equal to the number of classes, or one less, rows are exactly what was
    written; otherwise the kept values and the row's sum are.

    Args:
        num_samples: The number of rows.
        num_classes: The number of classes.
        k: How many classes are kept of each row, 1 to `num_classes`.
        length: How many distributions a sample has, for sequences: a row is that many times as wide.
        dtype: How the kept values are stored; the rest is stored in float32 or wider.
        name: The name of the table in checkpoints.
        sharded: Whether each replica or device holds its share of the rows only.
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
        places = "int16" if num_classes <= 2**15 else "int32"
        with keras.name_scope(name):
            self.places = row_state((rows, length * k), places, "places", self.over_mesh)
            rest = "float64" if dtype == "float64" else "float32"
            self.rest = row_state((rows, length), rest, "rest", self.over_mesh)

    def numpy(self) -> np.ndarray:
        """The table, shape (num_samples, width), with the rest spread: it is as large as one that is kept whole."""
        table = np.zeros((self.num_samples, self.width), self.rest.dtype)
        visited = self.numpy_visited()
        values, places, rest = (self.saved(variable) for variable in self._columns())
        for start in range(0, self.num_samples, _BLOCK):
            block = slice(start, min(start + _BLOCK, self.num_samples))
            rows = np.repeat(rest[block].reshape(-1, 1), self.num_classes, axis=1)
            kept = values[block].astype(table.dtype).reshape(-1, self.k)
            np.put_along_axis(rows, places[block].astype("int64").reshape(-1, self.k), kept, axis=1)
            table[block] = rows.reshape(-1, self.width) * visited[block, None]
        return table

    def largest(self) -> np.ndarray:
        """The class with the largest value of each row, shape (num_samples,); of a sequence, of its beginning."""
        return self.saved(self.places)[: self.num_samples, 0].astype("int64")

    def _columns(self) -> list[keras.Variable]:
        return [self.values, self.places, self.rest]

    def _pack(self, values: Any) -> list[Any]:
        batch = ops.shape(values)[0]
        packed = keep_top_k(ops.reshape(values, (-1, self.num_classes)), self.k)
        # Places are exchanged between replicas as int32: not everything that exchanges knows int16.
        dtypes = (self.values.dtype, "int32", self.rest.dtype)
        parts = zip(packed, dtypes, self._columns(), strict=True)
        return [ops.cast(ops.reshape(part, (batch, variable.shape[1])), dtype) for part, dtype, variable in parts]

    def _unpack(self, parts: list[Any], dtype: str) -> Any:
        batch = ops.shape(parts[0])[0]
        values, places = (ops.reshape(part, (-1, self.k)) for part in parts[:2])
        rows = spread_top_k(ops.cast(values, dtype), places, ops.reshape(parts[2], (-1,)), self.num_classes)
        return ops.reshape(rows, (batch, self.width))
