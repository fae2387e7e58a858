"""Callbacks that change hyperparameters on a schedule while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg._types import Config
from keras_reg._validation import check_choice, reject
from keras_reg.callbacks._configurable import Configurable
from keras_reg.tune._hyperparameter import Hyperparameter
from keras_reg.tune.of_model import hyperparameters, set_hyperparameters
from keras_reg.tune.schedule import check_schedule, schedule_values


class ScheduleCallback(Configurable, keras.callbacks.Callback):
    """Sets hyperparameters and adds their values to `logs`. Subclasses define the schedule.

    Attributes:
        scheduled_names: The names of the hyperparameters that the callback sets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scheduled_names: frozenset[str] = frozenset()
        self._handles: dict[str, list[Hyperparameter]] = {}

    def find(self, plan: Mapping[str, Any]) -> None:
        """Finds the hyperparameters of a schedule, and checks the listed values.

        Args:
            plan: For each name, a list of values or a function.

        Raises:
            ValueError: If the model has no hyperparameter of a name, or a value is out of its bounds.
        """
        by_name = hyperparameters(self.model)
        unknown = sorted(set(plan) - set(by_name))
        if unknown:
            raise ValueError(
                f"The model has no hyperparameters named {unknown}. It has {sorted(by_name)}. Give its layers and "
                f"regularizers hyperparameters with these names. Received: a schedule for {sorted(plan)}"
            )
        self._handles = {name: by_name[name] for name in plan}
        for name, values in plan.items():
            for value in values if isinstance(values, Sequence) else ():
                for handle in self._handles[name]:
                    handle.check(value, "value")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the current values to `logs`."""
        if updated_model(self) is None or logs is None:
            return
        for name, (handle, *_) in self._handles.items():
            if name in logs:
                raise ValueError(
                    f"The logs already contain {name!r}. Rename the hyperparameter. Received: {sorted(logs)}"
                )
            logs[name] = handle.value


@export(
    "callbacks.HyperparameterSchedule", kind="callback", tasks=("hyperparameter tuning",), arxiv="1903.03088", year=2019
)
class HyperparameterSchedule(ScheduleCallback):
    """Sets hyperparameters, such as dropout rates and strengths, to a value for each epoch.

    The logs contain the values under the names of the hyperparameters. The training step is not recompiled. After
    `fit`, each hyperparameter keeps its last value.

    Args:
        schedules: Dictionary. Maps the name of each hyperparameter to a function of the epoch, counted from 0, or to a
            list with a value for each epoch. After the end of a list, its last value stays.

    Raises:
        ValueError: If `schedules` does not have this form. At the start of `fit`, if the model has no hyperparameter of
            a name, or a value is out of its bounds.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.0, low=0.0, high=0.9)
    model = keras.Sequential([
        keras.Input((6,)),
        keras_reg.layers.TunableDropout(rate),
        keras.layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    schedule = keras_reg.callbacks.HyperparameterSchedule(
        {"dropout": lambda epoch: min(0.5, 0.1 * epoch)}
    )
    history = model.fit(x, y, epochs=3, callbacks=[schedule])
    history.history["dropout"]  # [0.0, 0.1, 0.2]
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors find that a
      schedule does better than the best constant.
    """

    serialized_arguments = ("schedules",)

    def __init__(self, schedules: Mapping[str, Callable[[int], float] | Sequence[float]]) -> None:
        super().__init__()
        if not isinstance(schedules, Mapping) or not schedules:
            reject("schedules", schedules, 'must be a dictionary such as {"dropout": [0.1, 0.2]}')
        for schedule in schedules.values():
            listed = isinstance(schedule, Sequence) and not isinstance(schedule, str) and schedule
            if not listed and not callable(schedule):
                reject("schedules", schedules, "must map each name to a function of the epoch or to a list of values")
        self.schedules, self.scheduled_names = dict(schedules), frozenset(schedules)

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the hyperparameters."""
        self.find(self.schedules)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the hyperparameters to the values of the epoch."""
        values = {
            name: plan(epoch) if callable(plan) else plan[min(epoch, len(plan) - 1)]
            for name, plan in self.schedules.items()
        }
        set_hyperparameters(self.model, values)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"schedules": self.schedules}


@export("callbacks.ReplaySchedule", kind="callback", tasks=("hyperparameter tuning",), arxiv="1903.03088", year=2019)
class ReplaySchedule(ScheduleCallback):
    """Replays the hyperparameter values that a tuner found, step by step, in a `fit` without a tuner.

    A schedule that was found on part of the data can be used to train on all of it. The logs contain the values.

    Args:
        schedule: Dictionary. The attribute `schedule` of `callbacks.SelfTuning`, or a dictionary in the form of
            `keras_reg.tune.schedule.schedule_values`, for example from a JSON file.
        by: String. The common scale of both runs, `"share"` or `"step"`. With `"share"`, values follow the completed
            share of the training run, for any number of epochs and of steps per epoch. With `"step"`, values follow the
            number of the step, and the last values stay after the last step. Defaults to `"share"`.

    Raises:
        ValueError: If the schedule does not have this form. At the start of `fit`, if the model has no hyperparameter
            of a name, or a value is out of its bounds. With `by="share"` and in resumed training, also if the number of
            steps per epoch is unknown.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.0, low=0.0, high=0.9)
    model = keras.Sequential([
        keras.Input((6,)),
        keras_reg.layers.TunableDropout(rate),
        keras.layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    schedule = {
        "total_steps": 300,
        "steps": [0, 100, 200],
        "values": {"dropout": [0.2, 0.3, 0.4]},
    }
    replay = keras_reg.callbacks.ReplaySchedule(schedule)
    history = model.fit(x, y, epochs=3, callbacks=[replay])
    history.history["dropout"]  # [0.2, 0.3, 0.4]
    ```

    Reference:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks. The authors replay schedules
      of dropout rates.
    """

    def __init__(self, schedule: Mapping[str, Any], *, by: str = "share") -> None:
        super().__init__()
        self.schedule = check_schedule(schedule)
        self.scheduled_names = frozenset(self.schedule["values"])
        self.by = check_choice("by", by, ("share", "step"))
        self._step = self._next = 0
        self._total: int | None = None
        self._current: dict[str, float] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the hyperparameters, and computes the number of steps."""
        self.find(self.schedule["values"])
        self._current, self._next, self._total = {}, 0, None
        steps = self.params.get("steps")
        if self.by == "share":
            if steps is None:
                raise ValueError(
                    "The number of steps per epoch is unknown. Give `fit` its `steps_per_epoch`, or replay with "
                    "by='step'. Received: by='share'"
                )
            self._total = steps * self.params["epochs"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Continues at the step where a resumed training starts."""
        steps = self.params.get("steps")
        if steps is None and epoch and not self._next:
            raise ValueError(
                "The number of steps of the epochs before this one is unknown. Give `fit` its `steps_per_epoch`. "
                f"Received: a `fit` that begins with epoch {epoch}"
            )
        self._step = self._next if steps is None else epoch * steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the hyperparameters to the values of the step if they differ from those of the previous step."""
        values = schedule_values(self.schedule, self._step + batch, self._total)
        if values != self._current:
            set_hyperparameters(self.model, values)
            self._current = values

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the steps."""
        self._next = self._step + batch + 1

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {"schedule": self.schedule, "by": self.by}
