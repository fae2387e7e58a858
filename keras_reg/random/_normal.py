"""Normal variates that differ between replicas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_reg._types import Tensor
from keras_reg.random._uniform import open_uniform


def standard_normal(shape: Sequence[Any], seed: Any = None) -> Tensor:
    """Draws standard normal float32 numbers, which differ between replicas that share a seed.

    Args:
        shape: The shape, of integers and scalar tensors.
        seed: An integer, a `keras.random.SeedGenerator`, or `None` for the global generator of Keras.

    Returns:
        A tensor of this shape.
    """
    return normal_from_uniform(open_uniform(shape, seed))


def normal_from_uniform(uniform: Tensor) -> Tensor:
    """Converts uniform numbers in (0, 1) to standard normal numbers."""
    return 2**0.5 * ops.erfinv(2 * uniform - 1)
