"""Shards the rows of tables over the replicas of a `tf.distribute` strategy, in the order of the replicas."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._types import Array, Tensor


def find_own_rows(rows: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Returns the positions of rows in this replica's part of the table.

    Args:
        rows: Tensor. Rows of the table, shape (batch,).
        size: Integer. The number of rows that a replica holds.

    Returns:
        local: Tensor. Positions in this replica's part, shape (batch,). It is `size` for rows of other replicas.
        own: Tensor. True for rows that this replica holds, shape (batch,), bool.
    """
    import tensorflow as tf

    local = rows - tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    own = ops.logical_and(local >= 0, local < size)
    return ops.where(own, local, size), own


def join(variable: keras.Variable, num_samples: int) -> Array:
    """Returns the whole table, as a single replica would hold it. The last row, for masked ids, is empty."""
    parts = [np.asarray(part)[:-1] for part in _list_parts(variable)]
    table = np.concatenate(parts)[:num_samples]
    return np.concatenate([table, np.zeros_like(table[:1])])


def divide(variable: keras.Variable, table: Array) -> None:
    """Assigns to every replica its rows of a table that `join` has returned."""
    size = variable.shape[0] - 1
    for index, part in enumerate(_list_parts(variable)):
        rows = np.zeros(variable.shape, table.dtype)
        own = table[:-1][index * size : (index + 1) * size]
        rows[: len(own)] = own
        part.assign(rows)


def check_addressable(variable: keras.Variable) -> None:
    """Raises an error if a table cannot be joined because some of its rows are in other processes.

    Raises:
        ValueError: If the strategy has several workers.
    """
    parts = len(_list_parts(variable))
    if parts != replicas.num_replicas():
        raise ValueError(
            "`sharded` needs the replicas of one process only, so that rows can be read and saved. "
            f"Received: sharded=True with {parts} of {replicas.num_replicas()} replicas in this process"
        )


def _list_parts(variable: keras.Variable) -> tuple[Tensor, ...]:
    value = variable.value
    return tuple(value.distribute_strategy.experimental_local_results(value))
