"""Tests of schedules of hyperparameters."""

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
    # A step uses the value that the schedule has when the step begins.
    assert got == [1 if 10 * step < 4 * total else 2 if 10 * step < 6 * total else 3 for step in range(total)]


def test_schedule_value_before_first_step_is_first_value():
    assert schedule_values({"total_steps": 10, "steps": [3], "values": {"a": [7.0]}}, 0) == {"a": 7.0}


def test_schedule_round_trips_through_json():
    """Checks that the schedule is copied and that NumPy numbers are accepted."""
    numbers = {"total_steps": np.int64(10), "steps": [0, np.int32(4)], "values": {"a": [np.float32(0.5), 1]}}
    checked = check_schedule(numbers)
    assert checked == {"total_steps": 10, "steps": [0, 4], "values": {"a": [0.5, 1.0]}}
    assert check_schedule(json.loads(json.dumps(checked))) == checked
    numbers["values"]["a"].clear()
    assert checked["values"]["a"] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": [0, 4, 4]}, "increasing integers"),
        ({"steps": [0, True, 6]}, "increasing integers"),
        ({"steps": [0, "4", 6]}, "increasing integers"),
        ({"total_steps": 6}, "above the last step"),
        ({"total_steps": "10"}, "above the last step"),
        ({"values": {}}, "a list for each name"),
        ({"values": {"a": [1.0, 2.0]}}, "a finite number for each of 3 steps for 'a'"),
        ({"values": {"a": [1.0, "2", 3.0]}}, "a finite number for each of 3 steps for 'a'"),
        ({"other": 1}, "must have the form"),
    ],
)
def test_check_schedule_rejects_other_forms(changes, message):
    with pytest.raises(ValueError, match=f"`schedule` .*{message}.*Received: schedule="):
        check_schedule({**SCHEDULE, **changes})
