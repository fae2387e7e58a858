"""How rows of a variable are read and overwritten in a compiled step, without copying the others."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def gather(variable: keras.Variable, rows: Any) -> Any:
    """Some rows of a variable."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Reading the whole variable would share its buffer, and the scatter that follows would copy all of it.
        return tf.raw_ops.ResourceGather(resource=variable.value.handle, indices=rows, dtype=variable.dtype)
    return ops.take(variable.value, rows, axis=0)


def scatter(variable: keras.Variable, rows: Any, values: Any) -> None:
    """Overwrites rows in place; `rows` may repeat only with equal values, or in the row of the masked ids."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # `scatter_update` of a replicated variable is not implemented for `on_read`; the raw operation is.
        tf.raw_ops.ResourceScatterUpdate(resource=variable.value.handle, indices=rows, updates=values)
    elif backend == "torch":
        variable.value.data.index_copy_(0, ops.cast(rows, "int64"), values)
    else:
        # The buffer is donated to the step, so XLA updates it in place.
        variable.assign(ops.scatter_update(variable.value, ops.expand_dims(rows, 1), values))


def order_gather_before_scatter(old: Any, visited: Any, values: Any) -> tuple[Any, Any, Any]:
    """The same three, of which `values` depends on the others for a compiler.

    XLA computes a gather where its result is used. If that may be after the rows are overwritten, it copies the whole
    table in each step. What went through a scatter is used from there, and is one piece: new rows cannot be written
    before old ones were read. An optimization barrier is gone before XLA decides this.
    """
    width, mark = ops.shape(values)[1], ops.cast(ops.expand_dims(visited, 1), values.dtype)
    joined = ops.concatenate([old, mark, values], axis=1)
    places = ops.expand_dims(ops.arange(ops.shape(values)[0]), 1)
    joined = ops.scatter_update(ops.zeros_like(joined), places, joined)
    return joined[:, :width], joined[:, width] > 0, joined[:, width + 1 :]
