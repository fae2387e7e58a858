"""Checks arguments that several layers share."""

from __future__ import annotations

import math
from typing import Any

from keras_reg._types import Shape
from keras_reg._validation import is_integer, is_number, reject


def check_noise_shape(noise_shape: Any) -> Shape | None:
    """Checks the argument `noise_shape`, and returns it as a tuple or `None`.

    Raises:
        ValueError: If it is not a sequence of sizes, each an integer of at least 1 or `None`.
    """
    if noise_shape is None:
        return None
    sequence = isinstance(noise_shape, (tuple, list))
    if not sequence or not all(size is None or (is_integer(size) and size >= 1) for size in noise_shape):
        reject("noise_shape", noise_shape, "must be a tuple of integers of at least 1 and None, or None")
    return tuple(None if size is None else int(size) for size in noise_shape)


def check_interval(
    name: str, value: Any, requirement: str, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Checks that a pair of numbers is increasing, and returns it.

    Args:
        name: The name of the argument.
        value: The received value.
        requirement: What the argument must be, as in "must be two numbers".
        low: The smallest allowed number.
        high: The largest allowed number.

    Raises:
        ValueError: If the value is not such a pair.
    """
    pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(map(is_number, value))
    if not pair or not low <= value[0] < value[1] <= high:
        reject(name, value, requirement)
    return float(value[0]), float(value[1])
