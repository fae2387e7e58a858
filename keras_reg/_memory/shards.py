"""Tables whose rows are divided among the replicas of a `tf.distribute` strategy, in the order of the replicas."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas


def owned(rows: Any, size: int) -> tuple[Any, Any]:
    """Where rows of the whole table stand in this replica's part of it.

    Args:
        rows: Rows of the table, shape (batch,).
        size: How many rows a replica holds.

    Returns:
        local: The rows in this replica's part, `size` for those which are elsewhere, shape (batch,).
        mine: Which rows are here, shape (batch,), bool.
    """
    import tensorflow as tf

    local = rows - tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    mine = ops.logical_and(local >= 0, local < size)
    return ops.where(mine, local, size), mine


def joined(variable: keras.Variable, num_samples: int) -> np.ndarray:
    """The whole table as one replica would hold it, with the row of masked ids behind it, empty."""
    parts = [np.asarray(part)[:-1] for part in _parts(variable)]
    table = np.concatenate(parts)[:num_samples]
    return np.concatenate([table, np.zeros_like(table[:1])])


def divide(variable: keras.Variable, table: np.ndarray) -> None:
    """Gives every replica its rows of a table as `joined` makes it."""
    size = variable.shape[0] - 1
    for number, part in enumerate(_parts(variable)):
        rows = np.zeros(variable.shape, table.dtype)
        here = table[:-1][number * size : (number + 1) * size]
        rows[: len(here)] = here
        part.assign(rows)


def check_addressable(variable: keras.Variable) -> None:
    """Raises if a table cannot be joined, because some of its rows are in other processes.

    Raises:
        ValueError: If the strategy has several workers.
    """
    if len(_parts(variable)) != replicas.num_replicas():
        raise ValueError(
            "Rows can be sharded over the replicas of one process only, so that they can be read and saved. "
            f"Received: sharded=True with {len(_parts(variable))} of {replicas.num_replicas()} replicas in this process"
        )


def _parts(variable: keras.Variable) -> tuple[Any, ...]:
    value = variable.value
    return tuple(value.distribute_strategy.experimental_local_results(value))
