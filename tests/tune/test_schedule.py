"""Looking values up in a schedule."""

from __future__ import annotations

import json

import numpy as np
import pytest

from keras_reg.tune.schedule import check_schedule, schedule_values

SCHEDULE = {"total_steps": 10, "steps": [0, 4, 6], "values": {"a": [1.0, 2.0, 3.0], "b": [4, 5, 6]}}


def test_schedule_value_holds_from_given_step():
    got = [schedule_values(SCHEDULE, step)["a"] for step in range(12)]
    assert got == [1, 1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 3]
    assert schedule_values(SCHEDULE, 5) == {"a": 2.0, "b": 5.0}


@pytest.mark.parametrize("total", [5, 7, 10, 20, 1000])
def test_schedule_values_scale_with_number_of_steps(total):
    got = [schedule_values(SCHEDULE, step, total)["a"] for step in range(total)]
    # A step has the value of the moment at which it begins.
    assert got == [1 if 10 * step < 4 * total else 2 if 10 * step < 6 * total else 3 for step in range(total)]


def test_schedule_value_before_first_step_is_first_value():
    assert schedule_values({"total_steps": 10, "steps": [3], "values": {"a": [7.0]}}, 0) == {"a": 7.0}


def test_schedule_round_trips_through_json():
    """A copy is made, and NumPy's numbers are taken."""
    numbers = {"total_steps": np.int64(10), "steps": [0, np.int32(4)], "values": {"a": [np.float32(0.5), 1]}}
    checked = check_schedule(numbers)
    assert checked == {"total_steps": 10, "steps": [0, 4], "values": {"a": [0.5, 1.0]}}
    assert check_schedule(json.loads(json.dumps(checked))) == checked
    numbers["values"]["a"].clear()
    assert checked["values"]["a"] == [0.5, 1.0]
