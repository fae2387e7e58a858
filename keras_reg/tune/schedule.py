"""Schedules of hyperparameters: what a tuner found, to be replayed in another run."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_reg._validation import is_number

_FORM = '{"total_steps": 300, "steps": [0, 6, ...], "values": {"dropout": [0.2, 0.21, ...], ...}}'


def schedule_values(schedule: Mapping[str, Any], step: int, total_steps: int | None = None) -> dict[str, float]:
    """The values that a schedule has for a training step.

    A schedule is what `callbacks.SelfTuning` found, in a form that JSON holds:
    `{"total_steps": 300, "steps": [0, 6, 12], "values": {"dropout": [0.2, 0.21, 0.23]}}`. From step 6 of its 300 on,
    the rate was 0.21, and from step 12 on 0.23.

    Args:
        schedule: The schedule.
        step: The number of the step, from 0.
        total_steps: How many steps there are in the present run: the values are those at the same share of the
            training. `None` means those of the same step; after the last one it stays.

    Returns:
        A value for each name.

    Example:

    ```python
    schedule = {"total_steps": 300, "steps": [0, 6, 12], "values": {"dropout": [0.2, 0.21, 0.23]}}
    schedule_values(schedule, step=7)  # {"dropout": 0.21}
    schedule_values(schedule, step=70, total_steps=3000)  # {"dropout": 0.21}
    ```
    """
    if total_steps is not None:
        step = step * schedule["total_steps"] // total_steps  # in integers, so that the same step is the same
    place = max(bisect.bisect_right(schedule["steps"], step) - 1, 0)
    return {name: float(values[place]) for name, values in schedule["values"].items()}


def check_schedule(schedule: Any) -> dict[str, Any]:
    """Returns a schedule in the form that `schedule_values` takes.

    Args:
        schedule: What the user gave.

    Returns:
        A copy of it.

    Raises:
        ValueError: If it has another form.
    """
    if not isinstance(schedule, Mapping) or set(schedule) != {"total_steps", "steps", "values"}:
        raise ValueError(f"`schedule` must have the form {_FORM}. Received: schedule={schedule!r}")
    total, steps, values = schedule["total_steps"], schedule["steps"], schedule["values"]
    counted = isinstance(steps, (list, tuple)) and steps and all(map(_is_count, steps))
    if not counted or any(after <= before for before, after in itertools.pairwise(steps)):
        raise ValueError(f"The `steps` of a schedule must be growing integers from 0. Received: schedule={schedule!r}")
    if not _is_count(total) or total <= steps[-1]:
        raise ValueError(
            f"The `total_steps` of a schedule must be an integer above its last step. Received: schedule={schedule!r}"
        )
    if not isinstance(values, Mapping) or not values:
        raise ValueError(f"The `values` of a schedule must be a dictionary by names. Received: schedule={schedule!r}")
    for name, own in values.items():
        if not isinstance(own, (list, tuple)) or len(own) != len(steps) or not all(map(is_number, own)):
            raise ValueError(
                f"The values of {name!r} must be as many finite numbers as there are steps, {len(steps)}. "
                f"Received: schedule={schedule!r}"
            )
    copied = {name: [float(value) for value in own] for name, own in values.items()}
    return {"total_steps": int(total), "steps": [int(step) for step in steps], "values": copied}


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)
