"""Uniform numbers that differ between replicas."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

# Half of the finest step in which the backends draw float32 numbers from [0, 1): it keeps them away from both ends.
_HALF_STEP = 2.0**-24


def open_uniform(shape: Any, seed: Any = None) -> Any:
    """Uniform float32 numbers inside (0, 1), never 0 or 1. On each replica others, from one seed.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A tensor of that shape.
    """
    return ops.clip(uniform(shape, seed, _replica()) + _HALF_STEP, _HALF_STEP, 1 - _HALF_STEP)


def uniform(shape: Any, seed: Any = None, replica: Any = None) -> Any:
    """Uniform float32 numbers of [0, 1): of a generator those of `keras.random.uniform`, or others on each replica.

    On TensorFlow, Keras leaves the algorithm to TensorFlow. That is Philox too, but its key comes of another operation,
    and the program that XLA makes of this for processors takes a hundred times as long.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.
        replica: Which replica of `tf.distribute` this is, if it shall draw numbers of its own.

    Returns:
        A tensor of that shape.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.random.uniform(shape, dtype="float32", seed=seed)
    import tensorflow as tf

    if replica is None and isinstance(seed, keras.random.SeedGenerator):
        key = tf.cast(tf.math.floormod(seed.next(), tf.int32.max - 1), "int32")  # as Keras does
    else:
        # Under a strategy all replicas have the same state of the seed, so that Keras draws the same on each.
        key = keras.random.randint((2,), 0, 2**31 - 1, dtype="int32", seed=seed)
        key += tf.stack([0, 0 if replica is None else tf.cast(replica, "int32")])
    return tf.random.stateless_uniform(shape, key, alg="philox")


def _replica() -> Any:
    """Which replica this is, if there are several."""
    if keras.backend.backend() != "tensorflow":
        return None  # a distribution on JAX shows the program the global batch
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group
