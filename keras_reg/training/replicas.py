"""Where the variables of training are made; what replicas exchange is in `keras_reg.replicas`, for every room."""

from __future__ import annotations

from typing import Any

from keras_reg.replicas import all_gather as all_gather
from keras_reg.replicas import num_replicas as num_replicas
from keras_reg.replicas import scope as scope
from keras_reg.replicas import sum_over_replicas as sum_over_replicas

__all__ = ["all_gather", "num_replicas", "scope", "sum_over_replicas"]


def own_part(tensor: Any, size: Any) -> Any:
    """This replica's `size` rows of a tensor that is the same on every replica, in replica order."""
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    start = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    return tensor[start : start + size]
