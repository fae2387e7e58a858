"""What one replica must know of the others, for every room. Everything is the identity where there is one replica.

On JAX a distribution shows the program the global batch, so nothing has to be gathered there.
"""

from __future__ import annotations

import contextlib
from typing import Any

import keras


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """The strategy scope in which variables for `model` must be created."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()  # type: ignore[no-any-return]


def num_replicas() -> int:
    """The number of replicas that share a training step (1 outside `tf.distribute`)."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def all_gather(tensor: Any) -> Any:
    """Joins the batches of all replicas along axis 0, in replica order; the same result on every replica.

    Gradients of all replicas flow back to each of them.
    """
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return tensor if context is None else context.all_gather(tensor, axis=0)


def mean_over_replicas(tensor: Any) -> Any:
    """The mean of a tensor over all replicas; the same result on every replica."""
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return tensor if context is None else context.all_reduce(tf.distribute.ReduceOp.MEAN, tensor)
