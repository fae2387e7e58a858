"""A table with one row per training sample that lives in the compiled training step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._memory import mesh_rows, shards
from keras_reg._memory.row_access import gather, order_gather_before_scatter, scatter


def last_occurrence(rows: Any, all_rows: Any) -> Any:
    """For each of `rows`, the last position in `all_rows` with the same value: of duplicates the last one wins."""
    rows, all_rows = ops.convert_to_tensor(rows), ops.convert_to_tensor(all_rows)
    positions = ops.arange(ops.shape(all_rows)[0], dtype="int32")
    same = ops.expand_dims(rows, 1) == ops.expand_dims(all_rows, 0)
    return ops.max(ops.where(same, positions, -1), axis=1)


def row_state(shape: tuple[int, ...], dtype: str, name: str, over_mesh: bool = False) -> keras.Variable:
    """A variable of a table, zeros at first; its rows may be divided over the mesh of `keras.distribution`."""
    layout = {"layout": mesh_rows.layout(len(shape))} if over_mesh else {}
    return replicas.replicated_variable(shape=shape, dtype=dtype, name=name, **layout)


class PerSampleMemory(keras.metrics.Metric):
    """A (num_samples, width) table of values that the training step reads and writes by sample id.

    It is a `keras.metrics.Metric` for one reason: the variables of metrics are the only ones that every Keras trainer
    threads through its compiled step without being weights of the model. Create it inside the model's strategy scope.

    Rules, the same on every backend, compiled or not, on one replica or several:

    - ids below 0 are masked: they read zeros and write nothing. Ids of `num_samples` or above are masked too, and the
      largest one is kept in `out_of_range`, so that the caller can raise.
    - Rows with a value that is not finite are not written: a step that overflows does not poison the table.
    - If an id stands more than once in a global batch, the last one in global batch order wins, and all of them read
      its row back.
    - All replicas write the rows of the global batch, so they keep identical copies.

    Args:
        num_samples: The number of rows; ids run from 0 to `num_samples - 1`.
        width: The number of values in a row.
        dtype: How values are stored. Reading gives the type that the caller computes in.
        name: The name of the table in checkpoints.
        sharded: Whether each replica of a `tf.distribute` strategy, or on JAX each of the devices that share a batch,
            holds its share of the rows only, and asks the others for the rest.
    """

    def __init__(
        self, num_samples: int, width: int, dtype: str = "float32", name: str = "memory", sharded: bool = False
    ) -> None:
        super().__init__(name=name, dtype="float32")
        self.num_samples = num_samples
        self.width = width
        self.row_dtype = dtype
        self.sharded = sharded and replicas.num_replicas() > 1
        self.over_mesh = sharded and mesh_rows.num_parts() > 1
        parts = max(replicas.num_replicas(), mesh_rows.num_parts()) if sharded else 1
        self._size = -(-num_samples // parts)
        with keras.name_scope(name):  # by its path a `keras.distribution.LayoutMap` knows the table
            self._create_rows()
            self.out_of_range = row_state((), "int32", "out_of_range")
        if self.sharded:
            shards.check_addressable(self.values)
        if self.over_mesh:
            mesh_rows.check_addressable(self.values)

    @property
    def bytes_per_sample(self) -> float:
        """How many bytes a sample takes on each replica or device, the mark that it was visited included."""
        row = sum(np.dtype(v.dtype).itemsize * int(np.prod(v.shape[1:])) for v in (*self._columns(), self.visited))
        return float(row * self._size / self.num_samples)

    def begin(self) -> None:
        """Raises a `ValueError` if the table cannot be trained on as it is. Called before each epoch."""

    def prefetch(self, ids: Any) -> None:
        """Does nothing: the rows are in memory."""

    def read(self, ids: Any, dtype: str = "float32") -> tuple[Any, Any]:
        """The rows of a batch.

        Args:
            ids: Sample ids of this replica's batch, shape (batch,).
            dtype: The type to return values in.

        Returns:
            values: Shape (batch, width); zeros for rows that were never written, or masked.
            visited: Shape (batch,), true where the row was written before.
        """
        rows = self._rows(ids)
        known = rows < self.num_samples
        if not self.sharded:
            return self._look_up(rows, known, dtype)
        all_rows = replicas.all_gather(rows)
        local, mine = shards.owned(all_rows, self._size)
        values, visited = self._look_up(local, mine, dtype)
        # Each row is somewhere, and zeros elsewhere: the sum is the row, exactly.
        visited = replicas.sum_over_replicas(ops.cast(visited, dtype)) > 0
        values, position = replicas.sum_over_replicas(values), last_occurrence(rows, all_rows)
        known = ops.logical_and(known, ops.take(visited, position))
        return ops.where(ops.expand_dims(known, 1), ops.take(values, position, axis=0), 0), known

    def write(self, ids: Any, values: Any) -> Any:
        """Writes the rows of the global batch.

        Args:
            ids: Sample ids of this replica's batch, shape (batch,).
            values: New rows, shape (batch, width).

        Returns:
            The rows that these ids hold afterwards, shape (batch, width) in the type of `values`; zeros where masked.
        """
        values = ops.stop_gradient(ops.convert_to_tensor(values))
        rows = self._rows(ids)
        if keras.backend.is_float_dtype(self.row_dtype):
            finite = ops.isfinite(ops.cast(values, self.row_dtype))
            rows = ops.where(ops.all(finite, axis=1), rows, self.num_samples)
        all_rows = replicas.all_gather(rows)
        last = last_occurrence(all_rows, all_rows)
        winners = [ops.take(_exchange(part), last, axis=0) for part in self._pack(values)]
        here = shards.owned(all_rows, self._size)[0] if self.sharded else all_rows
        self._store(here, winners)
        self._note_out_of_range(ops.cast(ids, "int32"))
        position = last_occurrence(rows, all_rows)
        mine = self._unpack([ops.take(part, position, axis=0) for part in winners], values.dtype)
        return ops.where(ops.expand_dims(rows < self.num_samples, 1), mine, ops.zeros_like(mine))

    def exchange(self, ids: Any, values: Any) -> tuple[Any, Any]:
        """Writes the rows of the global batch and gives what was there before: `read`, then `write`.

        Args:
            ids: Sample ids of this replica's batch, shape (batch,).
            values: New rows, shape (batch, width).

        Returns:
            values: The rows before, as `read` gives them, in the type of `values`.
            visited: As `read` gives it.
        """
        values = ops.stop_gradient(ops.convert_to_tensor(values))
        old, visited = self.read(ids, values.dtype)
        old, visited, values = order_gather_before_scatter(old, visited, values)
        self.write(ids, values)
        return old, visited

    def numpy(self) -> np.ndarray:
        """The table, shape (num_samples, width). Rows that were never visited are zeros."""
        table = self.saved(self.values)[: self.num_samples]
        # NumPy computes slowly and roughly with half types.
        return table.astype("float32") if self.row_dtype in ("float16", "bfloat16") else table

    def numpy_visited(self) -> np.ndarray:
        """Which rows were ever written, shape (num_samples,), bool."""
        return self.saved(self.visited)[: self.num_samples]

    def largest(self) -> np.ndarray:
        """Where the largest value of each row is, shape (num_samples,); 0 for rows that were never visited."""
        return np.asarray(self.numpy().argmax(axis=1))

    def saved(self, variable: keras.Variable) -> np.ndarray:
        """One of the table's variables as a checkpoint holds it: the same, however the rows are divided."""
        if self.sharded and variable is not self.out_of_range:
            return shards.joined(variable, self.num_samples)
        array = np.asarray(ops.convert_to_numpy(variable))
        return array[: self.num_samples + 1] if self.over_mesh and array.ndim else array

    def saved_shape(self, variable: keras.Variable) -> tuple[int, ...]:
        """The shape of what `saved` gives."""
        shape = tuple(variable.shape)
        return (self.num_samples + 1, *shape[1:]) if shape else shape

    def restore(self, variable: keras.Variable, array: np.ndarray) -> None:
        """Gives one of the table's variables what `saved` took."""
        if self.sharded and variable is not self.out_of_range:
            shards.divide(variable, array)
        elif self.over_mesh and variable is not self.out_of_range:
            mesh_rows.divide(variable, array)
        else:
            variable.assign(array)

    def reset_state(self) -> None:
        """Does nothing: a memory outlives the epoch. Keras resets metrics at the start of epochs and evaluations."""

    def update_state(self, ids: Any, values: Any) -> None:
        """The same as `write`, under the name that metrics have."""
        self.write(ids, values)

    def result(self) -> dict[str, Any]:
        """Nothing: a memory is not a number for the logs."""
        return {}

    def _rows(self, ids: Any) -> Any:
        ids = ops.cast(ids, "int32")
        known = ops.logical_and(ids >= 0, ids < self.num_samples)
        return ops.where(known, ids, self.num_samples)

    def _create_rows(self) -> None:
        # One row more than there are samples: masked ids write there, so that the scatter has a fixed shape.
        rows = mesh_rows.padded(self.num_samples + 1) if self.over_mesh else self._size + 1
        self.values = row_state((rows, self.width), self.row_dtype, "values", self.over_mesh)
        self.visited = row_state((rows,), "bool", "visited", self.over_mesh)

    def _columns(self) -> list[keras.Variable]:
        """The variables that hold a row of values each, in the order of `_pack`."""
        return [self.values]

    def _pack(self, values: Any) -> list[Any]:
        """Rows of values as they are stored and exchanged: one tensor for each of `_columns`."""
        return [ops.cast(values, self.row_dtype)]

    def _unpack(self, parts: list[Any], dtype: str) -> Any:
        """Rows of values of what `_pack` made."""
        return ops.cast(parts[0], dtype)

    def _look_up(self, rows: Any, known: Any, dtype: str) -> tuple[Any, Any]:
        values = self._unpack([gather(variable, rows) for variable in self._columns()], dtype)
        visited = ops.logical_and(gather(self.visited, rows), known)
        return ops.where(ops.expand_dims(visited, 1), values, ops.zeros_like(values)), visited

    def _store(self, rows: Any, parts: list[Any]) -> None:
        for variable, part in zip(self._columns(), parts, strict=True):
            scatter(variable, rows, ops.cast(part, variable.dtype))
        scatter(self.visited, rows, ops.ones_like(rows, dtype="bool"))

    def _note_out_of_range(self, ids: Any) -> None:
        beyond = ops.max(ops.where(ids >= self.num_samples, ids, 0), initial=0)
        if replicas.num_replicas() > 1:
            beyond = ops.max(replicas.all_gather(ops.reshape(beyond, (1,))))
        self.out_of_range.assign(ops.maximum(self.out_of_range.value, beyond))


def _exchange(part: Any) -> Any:
    # Replicas of TensorFlow exchange no bfloat16; float32 holds every number of it.
    narrow = keras.backend.standardize_dtype(part.dtype) == "bfloat16" and replicas.num_replicas() > 1
    return replicas.all_gather(ops.cast(part, "float32") if narrow else part)
