"""Checks arguments. Each function returns the checked value, and all messages have the same form.

A message says what the argument must be and what was received: "`rate` must be a finite number of at least 0 and
below 1. Received: rate=1.5".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np


def reject(name: str, value: Any, requirement: str) -> NoReturn:
    """Raises a `ValueError` for an invalid argument.

    Args:
        name: The name of the argument.
        value: The received value.
        requirement: What the argument must be, as in "must be a layer".
    """
    raise ValueError(f"`{name}` {requirement}. Received: {name}={value!r}")


def is_integer(value: Any) -> bool:
    """Returns True for a Python or NumPy integer. Booleans do not count as integers."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def is_number(value: Any) -> bool:
    """Returns True for a finite Python or NumPy number. Booleans do not count as numbers."""
    try:
        return (is_integer(value) or isinstance(value, (float, np.floating))) and math.isfinite(value)
    except OverflowError:  # The integer is larger than every float.
        return False


def check_number(
    name: str,
    value: Any,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    optional: bool = False,
) -> float:
    """Checks a finite number against bounds, and returns it as a float.

    Args:
        name: The name of the argument.
        value: The received value.
        at_least: The smallest allowed number. Defaults to `0` if `above` is not given.
        above: A number that the value must exceed.
        at_most: The largest allowed number.
        below: A number that the value must stay below.
        optional: Whether `None` is allowed, and returned. Defaults to `False`.

    Raises:
        ValueError: If the value is not a number within the bounds.
    """
    if optional and value is None:
        return None  # type: ignore[return-value]
    if at_least is None and above is None:
        at_least = 0.0
    bounds: list[tuple[str, float | None, Callable[[float, float], bool]]] = [
        ("of at least", at_least, lambda number, bound: number >= bound),
        ("above", above, lambda number, bound: number > bound),
        ("of at most", at_most, lambda number, bound: number <= bound),
        ("below", below, lambda number, bound: number < bound),
    ]
    given = [(words, bound, holds) for words, bound, holds in bounds if bound is not None and math.isfinite(bound)]
    if not is_number(value) or not all(holds(value, bound) for _, bound, holds in given):
        limits = " and ".join(f"{words} {bound:g}" for words, bound, _ in given)
        nothing = " or None" if optional else ""
        reject(name, value, f"must be a finite number{' ' if limits else ''}{limits}{nothing}")
    return float(value)


def check_integer(
    name: str, value: Any, *, at_least: int = 1, at_most: int | None = None, optional: bool = False
) -> int:
    """Checks an integer against bounds, and returns it as an `int`.

    Args:
        name: The name of the argument.
        value: The received value.
        at_least: The smallest allowed integer. Defaults to `1`.
        at_most: The largest allowed integer, if any.
        optional: Whether `None` is allowed, and returned. Defaults to `False`.

    Raises:
        ValueError: If the value is not such an integer.
    """
    if optional and value is None:
        return None  # type: ignore[return-value]
    if not is_integer(value) or value < at_least or (at_most is not None and value > at_most):
        limit = f"of at least {at_least}" + ("" if at_most is None else f" and of at most {at_most}")
        reject(name, value, f"must be an integer {limit}{' or None' if optional else ''}")
    return int(value)


def check_boolean(name: str, value: Any, *, optional: bool = False) -> bool:
    """Checks a boolean, and returns it.

    Raises:
        ValueError: If the value is something else, such as 1 or "no". `None` is allowed if `optional` is true.
    """
    if optional and value is None:
        return None  # type: ignore[return-value]
    if not isinstance(value, (bool, np.bool_)):
        reject(name, value, f"must be True{', False or None' if optional else ' or False'}")
    return bool(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Checks that a value is one of several strings, and returns it.

    Raises:
        ValueError: If the value is something else.
    """
    if not isinstance(value, str) or value not in choices:
        reject(name, value, f"must be one of {tuple(choices)}")
    return value


def check_seed(seed: Any) -> int | None:
    """Checks the argument `seed`, and returns it.

    Raises:
        ValueError: If it is neither an integer nor `None`.
    """
    if seed is not None and not is_integer(seed):
        reject("seed", seed, "must be an integer or None")
    return seed if seed is None else int(seed)


def check_axis(axis: Any) -> int:
    """Checks the argument `axis`, which may be negative, and returns it.

    Raises:
        ValueError: If it is not an integer.
    """
    if not is_integer(axis):
        reject("axis", axis, "must be an integer")
    return int(axis)


def check_string(name: str, value: Any, *, optional: bool = False) -> str:
    """Checks that a string is not empty, and returns it.

    Raises:
        ValueError: If the value is something else. `None` is allowed if `optional` is true.
    """
    if optional and value is None:
        return None  # type: ignore[return-value]
    if not isinstance(value, str) or not value:
        reject(name, value, f"must be a string that is not empty{' or None' if optional else ''}")
    return value
