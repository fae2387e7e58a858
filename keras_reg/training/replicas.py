"""Where the variables of training are made; what replicas exchange is in `keras_reg.replicas`, for every room."""

from __future__ import annotations

import contextlib
from typing import Any

import keras

from keras_reg.replicas import all_gather as all_gather
from keras_reg.replicas import num_replicas as num_replicas

__all__ = ["all_gather", "num_replicas", "scope"]


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """The strategy scope in which variables for `model` must be created (callbacks run outside of it)."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()  # type: ignore[no-any-return]


def own_part(tensor: Any, size: Any) -> Any:
    """This replica's `size` rows of a tensor that is the same on every replica, in replica order."""
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    start = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    return tensor[start : start + size]
