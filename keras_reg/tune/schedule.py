"""Schedules of hyperparameters, which a tuner records and another run can replay."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from typing import Any

from keras_reg._validation import is_integer, is_number, reject

_FORM = '{"total_steps": 300, "steps": [0, 6, ...], "values": {"dropout": [0.2, 0.21, ...], ...}}'


def schedule_values(schedule: Mapping[str, Any], step: int, total_steps: int | None = None) -> dict[str, float]:
    """Returns the values of a schedule at a training step.

    `keras_reg.callbacks.SelfTuning` records a schedule in a form that JSON can store:
    `{"total_steps": 300, "steps": [0, 6, 12], "values": {"dropout": [0.2, 0.21, 0.23]}}`. In this example, the rate was
    0.21 from step 6 of 300 on, and 0.23 from step 12 on.

    Args:
        schedule: Dictionary. The schedule.
        step: Integer. The number of the step, from 0.
        total_steps: Integer. The number of steps in the current run. The values are those at the same share of the
            training run. `None` means the values at the same step, and the last values after the last step. Defaults to
            `None`.

    Returns:
        A dictionary with a value for each name.

    Example:

    ```python
    schedule = {"total_steps": 300, "steps": [0, 6, 12], "values": {"dropout": [0.2, 0.21, 0.23]}}
    schedule_values(schedule, step=7)  # {"dropout": 0.21}
    schedule_values(schedule, step=70, total_steps=3000)  # {"dropout": 0.21}
    ```
    """
    if total_steps is not None:
        # Integer arithmetic is exact, so a run with the same number of steps gets the values of the same steps.
        step = step * schedule["total_steps"] // total_steps
    index = max(bisect.bisect_right(schedule["steps"], step) - 1, 0)
    return {name: float(values[index]) for name, values in schedule["values"].items()}


def check_schedule(schedule: Any) -> dict[str, Any]:
    """Checks a schedule, and returns it in the form that `schedule_values` takes.

    Args:
        schedule: The user's argument.

    Returns:
        A copy of the schedule.

    Raises:
        ValueError: If the argument does not have this form.
    """
    if not isinstance(schedule, Mapping) or set(schedule) != {"total_steps", "steps", "values"}:
        reject("schedule", schedule, f"must have the form {_FORM}")
    total, steps, values = schedule["total_steps"], schedule["steps"], schedule["values"]
    counts = isinstance(steps, (list, tuple)) and steps and all(map(_is_count, steps))
    if not counts or any(after <= before for before, after in itertools.pairwise(steps)):
        reject("schedule", schedule, "must have `steps`, which are increasing integers of at least 0")
    if not _is_count(total) or total <= steps[-1]:
        reject("schedule", schedule, "must have a `total_steps` that is an integer above the last step")
    if not isinstance(values, Mapping) or not values:
        reject("schedule", schedule, "must have `values`, a dictionary with a list for each name")
    for name, numbers in values.items():
        if not isinstance(numbers, (list, tuple)) or len(numbers) != len(steps) or not all(map(is_number, numbers)):
            reject("schedule", schedule, f"must have a finite number for each of {len(steps)} steps for {name!r}")
    copied = {name: [float(number) for number in numbers] for name, numbers in values.items()}
    return {"total_steps": int(total), "steps": [int(step) for step in steps], "values": copied}


def _is_count(value: Any) -> bool:
    return is_integer(value) and bool(value >= 0)
