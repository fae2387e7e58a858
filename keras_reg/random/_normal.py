"""Normal numbers that differ between replicas."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.random._uniform import open_uniform


def standard_normal(shape: Any, seed: Any = None) -> Any:
    """Standard normal float32 numbers. On each replica others, from one seed.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for Keras's global generator.

    Returns:
        A tensor of that shape.
    """
    return normal_of_uniform(open_uniform(shape, seed))


def normal_of_uniform(uniform: Any) -> Any:
    """Makes standard normal numbers of uniform ones inside (0, 1)."""
    return 2**0.5 * ops.erfinv(2 * uniform - 1)
