"""Creates, reads and overwrites rows of a variable in a compiled step, without a copy of the other rows."""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._memory import mesh_rows
from keras_reg._types import Tensor


def create_row_variable(shape: tuple[int, ...], dtype: str, name: str, over_mesh: bool = False) -> keras.Variable:
    """Returns a variable of zeros for a table. Its rows can be sharded over the mesh of `keras.distribution`."""
    layout = {"layout": mesh_rows.create_layout(len(shape))} if over_mesh else {}
    return replicas.replicated_variable(shape=shape, dtype=dtype, name=name, **layout)


def last_occurrence(rows: Tensor, all_rows: Tensor) -> Tensor:
    """Returns the last position of each of `rows` in `all_rows`, because the last of several duplicates wins."""
    rows, all_rows = ops.convert_to_tensor(rows), ops.convert_to_tensor(all_rows)
    positions = ops.arange(ops.shape(all_rows)[0], dtype="int32")
    same = ops.expand_dims(rows, 1) == ops.expand_dims(all_rows, 0)
    return ops.max(ops.where(same, positions, -1), axis=1)


def gather(variable: keras.Variable, rows: Tensor) -> Tensor:
    """Gathers rows of a variable by number."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Reading the whole variable would share its buffer, and the scatter that follows would copy all of it.
        return tf.raw_ops.ResourceGather(resource=variable.value.handle, indices=rows, dtype=variable.dtype)
    return ops.take(variable.value, rows, axis=0)


def scatter(variable: keras.Variable, rows: Tensor, values: Tensor) -> None:
    """Overwrites rows in place. Only equal values, or the row of masked ids, may be written more than once."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # For replicated variables with `on_read`, TensorFlow implements only the raw operation and not
        # `scatter_update`.
        tf.raw_ops.ResourceScatterUpdate(resource=variable.value.handle, indices=rows, updates=values)
    elif backend == "torch":
        variable.value.data.index_copy_(0, ops.cast(rows, "int64"), values)
    else:
        # The buffer is donated to the step, so XLA updates it in place.
        variable.assign(ops.scatter_update(variable.value, ops.expand_dims(rows, 1), values))


def order_gather_before_scatter(old: Tensor, visited: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the arguments unchanged, but makes `values` depend on the other two for the compiler.

    XLA computes a gather where its result is used. If this may be after the rows are overwritten, XLA copies the whole
    table in each step. Here all three arguments pass through one scatter, whose result is used afterwards. New rows
    therefore cannot be written before old rows were read. An optimization barrier has no effect, because XLA removes it
    before it decides where to gather.
    """
    width, marks = ops.shape(values)[1], ops.cast(ops.expand_dims(visited, 1), values.dtype)
    joined = ops.concatenate([old, marks, values], axis=1)
    positions = ops.expand_dims(ops.arange(ops.shape(values)[0]), 1)
    joined = ops.scatter_update(ops.zeros_like(joined), positions, joined)
    return joined[:, :width], joined[:, width] > 0, joined[:, width + 1 :]


def gather_over_replicas(values: Tensor) -> Tensor:
    """Concatenates the rows of all replicas, in any data type."""
    # TensorFlow replicas cannot exchange bfloat16. float32 represents each of its numbers exactly.
    narrow = keras.backend.standardize_dtype(values.dtype) == "bfloat16" and replicas.num_replicas() > 1
    return replicas.all_gather(ops.cast(values, "float32") if narrow else values)
