"""A table with one row per training sample that the compiled training step reads and writes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._memory import mesh_rows, row_access, shards
from keras_reg._types import Array, ArrayLike, Tensor
from keras_reg._validation import check_boolean, check_choice, check_integer, check_string

_FLOATS = ("float16", "bfloat16", "float32", "float64")
_INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")


class PerSampleMemory(keras.metrics.Metric):
    """Keeps a table of shape (num_samples, width) that the training step reads and writes by sample id.

    It is a `keras.metrics.Metric`. Only metrics have variables that every Keras trainer passes through its compiled
    step and that are not weights of the model. Create it in the model's strategy scope, for example in `create_memory`
    of a `keras_reg.training.PerSampleCallback`.

    These rules hold on every backend, compiled or not, on one replica or several:

    - Negative ids are masked: they read zeros and write nothing. Ids of `num_samples` or more are masked too. The
      largest of them is kept in `out_of_range`, so that the caller can raise an error.
    - Rows with a value that is not finite are not written, so a step that overflows does not damage the table.
    - If an id occurs more than once in a global batch, the last one in the order of the global batch is written. All of
      its occurrences receive this row.
    - All replicas write the rows of the global batch, so their copies of the table stay identical.

    Args:
        num_samples: Integer. The number of rows. Ids are integers from 0 to `num_samples - 1`.
        width: Integer. The number of values in a row.
        dtype: String. The data type of stored values. Defaults to `"float32"`.
        name: String. The name of the table in checkpoints. Defaults to `"memory"`.
        sharded: Boolean. Whether each device holds only its share of the rows and requests the other rows. A device is
            a replica of a `tf.distribute` strategy, or on JAX a device that shares a batch. Defaults to `False`.

    Attributes:
        num_samples: Integer. The number of rows.
        width: Integer. The number of values in a row.
        row_dtype: String. The data type of stored values.
        out_of_range: A `keras.Variable`. The largest id that was too large, or 0.

    Raises:
        ValueError: If an argument is out of range, or if `sharded` is true and rows are in other processes.

    Example:

    ```python
    memory = keras_reg.training.PerSampleMemory(len(x), 10)
    ids = np.array([3, 7, -1], "int32")  # -1 masks a sample
    memory.write(ids, np.full((3, 10), 0.1, "float32"))
    values, visited = memory.read(np.array([3, 4]))
    print(visited)  # [True, False]: values[1] is zeros
    memory.numpy().shape  # (64, 10)
    ```
    """

    def __init__(
        self, num_samples: int, width: int, dtype: str = "float32", name: str = "memory", sharded: bool = False
    ) -> None:
        super().__init__(name=check_string("name", name), dtype="float32")
        self.num_samples = check_integer("num_samples", num_samples)
        self.width = check_integer("width", width)
        self.row_dtype = check_choice("dtype", dtype, _FLOATS + _INTEGERS)
        sharded = check_boolean("sharded", sharded)
        self.sharded = sharded and replicas.num_replicas() > 1
        self.over_mesh = sharded and mesh_rows.num_parts() > 1
        parts = max(replicas.num_replicas(), mesh_rows.num_parts()) if sharded else 1
        self._size = -(-self.num_samples // parts)
        with keras.name_scope(name):  # A `keras.distribution.LayoutMap` identifies the table by its path.
            self._create_rows()
            self.out_of_range = row_access.create_row_variable((), "int32", "out_of_range")
        if self.sharded:
            shards.check_addressable(self.values)
        if self.over_mesh:
            mesh_rows.check_addressable(self.values)

    @property
    def bytes_per_sample(self) -> float:
        """Returns the number of bytes per sample on each replica or device, with the mark of visited rows."""
        row = sum(np.dtype(v.dtype).itemsize * int(np.prod(v.shape[1:])) for v in (*self._list_columns(), self.visited))
        return float(row * self._size / self.num_samples)

    def begin(self) -> None:
        """Raises a `ValueError` if the table cannot be used for training. It is called before each epoch."""

    def prefetch(self, ids: ArrayLike) -> None:
        """Does nothing, because the rows are in memory."""

    def read(self, ids: Tensor, dtype: str = "float32") -> tuple[Tensor, Tensor]:
        """Returns the rows of a batch.

        Args:
            ids: Tensor. Sample ids of this replica's batch, shape (batch,).
            dtype: String. The data type of the returned values. Defaults to `"float32"`.

        Returns:
            values: Tensor of shape (batch, width). It is zero for masked ids, and for rows that were never written.
            visited: Tensor of shape (batch,), bool. True if the row was written before.
        """
        rows = self._find_rows(ids)
        known = rows < self.num_samples
        if not self.sharded:
            return self._look_up(rows, known, dtype)
        all_rows = replicas.all_gather(rows)
        values, visited = self._look_up(*shards.find_own_rows(all_rows, self._size), dtype)
        # Exactly one shard holds each row, and the others hold zeros, so the sum is the row.
        visited = replicas.sum_over_replicas(ops.cast(visited, dtype)) > 0
        values, position = replicas.sum_over_replicas(values), row_access.last_occurrence(rows, all_rows)
        known = ops.logical_and(known, ops.take(visited, position))
        return ops.where(ops.expand_dims(known, 1), ops.take(values, position, axis=0), 0), known

    def write(self, ids: Tensor, values: Tensor) -> Tensor:
        """Writes the rows of the global batch. No gradient flows through the table.

        Args:
            ids: Tensor. Sample ids of this replica's batch, shape (batch,).
            values: Tensor. New rows, shape (batch, width).

        Returns:
            The rows of these ids after writing: a tensor of shape (batch, width) in the type of `values`. It is zero
            for masked ids.
        """
        values = ops.stop_gradient(ops.convert_to_tensor(values))
        rows = self._find_rows(ids)
        if keras.backend.is_float_dtype(self.row_dtype):
            finite = ops.isfinite(ops.cast(values, self.row_dtype))
            rows = ops.where(ops.all(finite, axis=1), rows, self.num_samples)
        all_rows = replicas.all_gather(rows)
        last = row_access.last_occurrence(all_rows, all_rows)
        winners = [ops.take(row_access.gather_over_replicas(part), last, axis=0) for part in self._pack(values)]
        self._store(shards.find_own_rows(all_rows, self._size)[0] if self.sharded else all_rows, winners)
        self._record_out_of_range(ops.cast(ids, "int32"))
        position = row_access.last_occurrence(rows, all_rows)
        stored = self._unpack([ops.take(part, position, axis=0) for part in winners], values.dtype)
        return ops.where(ops.expand_dims(rows < self.num_samples, 1), stored, ops.zeros_like(stored))

    def exchange(self, ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes the rows of the global batch and returns the previous rows: `read`, then `write`.

        XLA then updates the table in place. With separate calls of `read` and `write` it may copy the table.

        Args:
            ids: Tensor. Sample ids of this replica's batch, shape (batch,).
            values: Tensor. New rows, shape (batch, width).

        Returns:
            values: The previous rows, as `read` returns them, in the type of `values`.
            visited: True for rows that were written before, as `read` returns it.
        """
        values = ops.stop_gradient(ops.convert_to_tensor(values))
        old, visited = self.read(ids, values.dtype)
        old, visited, values = row_access.order_gather_before_scatter(old, visited, values)
        self.write(ids, values)
        return old, visited

    def numpy(self) -> Array:
        """Returns all rows as an array of shape (num_samples, width). Rows that were never visited are zeros.

        The array has the type of the table. Tables of 16-bit floats are returned in float32.
        """
        table = self.saved(self.values)[: self.num_samples]
        # NumPy computes slowly and with large rounding errors in 16 bits.
        return table.astype("float32") if self.row_dtype in ("float16", "bfloat16") else table

    def numpy_visited(self) -> Array:
        """Returns a boolean array of shape (num_samples,), which is True for each row that was ever written."""
        return self.saved(self.visited)[: self.num_samples]

    def largest(self) -> Array:
        """Returns the position of the largest value in each row, shape (num_samples,). It is 0 for unvisited rows."""
        return np.asarray(self.numpy().argmax(axis=1))

    def saved(self, variable: keras.Variable) -> Array:
        """Returns the value of one of the table's variables for a checkpoint. It does not depend on the sharding."""
        if self.sharded and variable is not self.out_of_range:
            return shards.join(variable, self.num_samples)
        array = np.asarray(ops.convert_to_numpy(variable))
        return array[: self.num_samples + 1] if self.over_mesh and array.ndim else array

    def saved_shape(self, variable: keras.Variable) -> tuple[int, ...]:
        """Returns the shape of the result of `saved`."""
        shape = tuple(variable.shape)
        return (self.num_samples + 1, *shape[1:]) if shape else shape

    def restore(self, variable: keras.Variable, array: Array) -> None:
        """Assigns a value that `saved` has returned to one of the table's variables."""
        if self.sharded and variable is not self.out_of_range:
            shards.divide(variable, array)
        elif self.over_mesh and variable is not self.out_of_range:
            mesh_rows.divide(variable, array)
        else:
            variable.assign(array)

    def reset_state(self) -> None:
        """Does nothing. Keras resets metrics at the start of epochs and evaluations, but rows must survive them."""

    def update_state(self, ids: Tensor, values: Tensor) -> None:
        """Calls `write`. Metrics have a method of this name."""
        self.write(ids, values)

    def result(self) -> dict[str, Any]:
        """Returns an empty dictionary, because the table has no number to log."""
        return {}

    def _find_rows(self, ids: Tensor) -> Tensor:
        ids = ops.cast(ids, "int32")
        known = ops.logical_and(ids >= 0, ids < self.num_samples)
        return ops.where(known, ids, self.num_samples)

    def _create_rows(self) -> None:
        # The table has one row more than there are samples. Masked ids write to it, so the scatter has a fixed shape.
        rows = mesh_rows.padded_size(self.num_samples + 1) if self.over_mesh else self._size + 1
        self.values = row_access.create_row_variable((rows, self.width), self.row_dtype, "values", self.over_mesh)
        self.visited = row_access.create_row_variable((rows,), "bool", "visited", self.over_mesh)

    def _list_columns(self) -> list[keras.Variable]:
        """Returns the variables that store the values of rows, in the order of `_pack`."""
        return [self.values]

    def _pack(self, values: Tensor) -> list[Tensor]:
        """Converts rows to the form in which they are stored and exchanged, one tensor for each of `_list_columns`."""
        return [ops.cast(values, self.row_dtype)]

    def _unpack(self, parts: list[Tensor], dtype: str) -> Tensor:
        """Converts the result of `_pack` to rows."""
        return ops.cast(parts[0], dtype)

    def _look_up(self, rows: Tensor, known: Tensor, dtype: str) -> tuple[Tensor, Tensor]:
        values = self._unpack([row_access.gather(variable, rows) for variable in self._list_columns()], dtype)
        visited = ops.logical_and(row_access.gather(self.visited, rows), known)
        return ops.where(ops.expand_dims(visited, 1), values, ops.zeros_like(values)), visited

    def _store(self, rows: Tensor, parts: list[Tensor]) -> None:
        for variable, part in zip(self._list_columns(), parts, strict=True):
            row_access.scatter(variable, rows, ops.cast(part, variable.dtype))
        row_access.scatter(self.visited, rows, ops.ones_like(rows, dtype="bool"))

    def _record_out_of_range(self, ids: Tensor) -> None:
        largest = ops.max(ops.where(ids >= self.num_samples, ids, 0), initial=0)
        if replicas.num_replicas() > 1:
            largest = ops.max(replicas.all_gather(ops.reshape(largest, (1,))))
        self.out_of_range.assign(ops.maximum(self.out_of_range.value, largest))
