"""Checks of the arguments that several classes have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def check_number(name: str, value: Any, above: float | None = None) -> float:
    """Returns a finite number of at least 0, or above `above`.

    Raises:
        ValueError: If it is something else.
    """
    if not is_number(value) or value < 0 or (above is not None and value <= above):
        bound = "of at least 0" if above is None else f"above {above:g}"
        raise ValueError(f"`{name}` must be a finite number {bound}. Received: {name}={value!r}")
    return float(value)


def check_count(name: str, value: Any) -> int:
    """Returns an integer of at least 1.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")
    return int(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Returns one of the choices.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"`{name}` must be one of {choices}. Received: {name}={value!r}")
    return value


def check_axis(axis: Any) -> int:
    """Returns an axis, which may be negative.

    Raises:
        ValueError: If it is no integer.
    """
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise ValueError(f"`axis` must be an integer. Received: axis={axis!r}")
    return int(axis)
