"""Uniform variates that differ between replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._types import Tensor

# This is half of the smallest step between the float32 numbers that backends draw from [0, 1). It excludes both ends.
_HALF_STEP = 2.0**-24


def open_uniform(shape: Sequence[Any], seed: Any = None) -> Tensor:
    """Draws uniform float32 numbers in (0, 1), never 0 or 1, which differ between replicas that share a seed.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for the global generator of Keras.

    Returns:
        A tensor of this shape.
    """
    return ops.clip(uniform(shape, seed, _get_replica()) + _HALF_STEP, _HALF_STEP, 1 - _HALF_STEP)


def uniform(shape: Sequence[Any], seed: Any = None, replica: Tensor | None = None) -> Tensor:
    """Draws uniform float32 numbers in [0, 1).

    With a generator and no replica, the numbers are those of `keras.random.uniform`.

    On TensorFlow, Keras lets TensorFlow choose the algorithm. TensorFlow also chooses Philox, but computes the key with
    a different operation. The program that XLA compiles from this operation for CPUs takes a hundred times as long.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for the global generator of Keras.
        replica: The index of the `tf.distribute` replica, for numbers that differ between replicas.

    Returns:
        A tensor of this shape.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.random.uniform(shape, dtype="float32", seed=seed)
    import tensorflow as tf

    if replica is None and isinstance(seed, keras.random.SeedGenerator):
        # Keras reduces the state of the generator to this range too.
        key = tf.cast(tf.math.floormod(seed.next(), tf.int32.max - 1), "int32")
    else:
        # Under a strategy, the seed has the same state on all replicas. Without the index, all would draw the same
        # numbers.
        key = keras.random.randint((2,), 0, 2**31 - 1, dtype="int32", seed=seed)
        key += tf.stack([0, 0 if replica is None else tf.cast(replica, "int32")])
    return tf.random.stateless_uniform(shape, key, alg="philox")


def _get_replica() -> Tensor | None:
    """Returns the index of the current replica, or `None` if there is only one."""
    if keras.backend.backend() != "tensorflow":
        # With a distribution on JAX, the program sees the global batch.
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context.replica_id_in_sync_group
