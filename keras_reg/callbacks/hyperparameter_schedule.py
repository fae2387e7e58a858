"""Hyperparameters that are moved by a plan while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_reg._keras.callback_model import updated_model
from keras_reg._registry import export
from keras_reg.tune.hyperparameter import Hyperparameter
from keras_reg.tune.of_model import hyperparameters, set_hyperparameters
from keras_reg.tune.schedule import check_schedule, schedule_values


class ScheduleCallback(keras.callbacks.Callback):
    """Base of callbacks that set hyperparameters, and show them in `logs`.

    Attributes:
        planned: The names of those that it sets.
    """

    def __init__(self) -> None:
        super().__init__()
        self.planned: frozenset[str] = frozenset()
        self._handles: dict[str, list[Hyperparameter]] = {}

    def find(self, plan: Mapping[str, Any]) -> None:
        """Finds the hyperparameters of a plan, and checks the values that are known."""
        found = hyperparameters(self.model)
        unknown = sorted(set(plan) - set(found))
        if unknown:
            raise ValueError(
                f"The model has no hyperparameters {unknown}, but {sorted(found)}: give its layers and regularizers "
                f"ones of these names. Received: a plan for {sorted(plan)}"
            )
        self._handles = {name: found[name] for name in plan}
        for name, values in plan.items():
            for value in values if isinstance(values, Sequence) else ():
                for handle in self._handles[name]:
                    handle.check(value, "value")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts the present values into `logs`."""
        if updated_model(self) is None or logs is None:
            return
        for name, (handle, *_) in self._handles.items():
            if name in logs:
                raise ValueError(
                    f"The logs have {name!r} already: give the hyperparameter another name. Received: {sorted(logs)}"
                )
            logs[name] = handle.value


@export("callbacks.HyperparameterSchedule", kind="callback", arxiv="1903.03088", year=2019)
class HyperparameterSchedule(ScheduleCallback):
    """Hyperparameter schedule: gives dropout rates, strengths and the like a value for each epoch.

    The values are in the logs, under the names of the hyperparameters. Nothing is compiled anew. After `fit`, each
    keeps its last value.

    Args:
        schedules: For the name of each hyperparameter a function of the epoch, which counts from 0, or a list of
            values, one for each epoch; after its end the last one stays.

    Raises:
        ValueError: If it has another form; at the start of `fit`, if the model has no hyperparameter of a name, or a
            value is outside of its bounds.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.0, low=0.0, high=0.9)
    model = keras.Sequential([keras.Input((6,)), keras_reg.layers.TunableDropout(rate), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = keras_reg.callbacks.HyperparameterSchedule({"dropout": lambda epoch: min(0.5, 0.1 * epoch)})
    model.fit(x, y, epochs=3, callbacks=[schedule]).history["dropout"]  # [0.0, 0.1, 0.2]
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who find that a schedule does better
    than the best constant.
    """

    def __init__(self, schedules: Mapping[str, Callable[[int], float] | Sequence[float]]) -> None:
        super().__init__()
        if not isinstance(schedules, Mapping) or not schedules:
            raise ValueError(
                f'`schedules` must be a dictionary such as {{"dropout": [0.1, 0.2]}}. Received: schedules={schedules!r}'
            )
        for name, schedule in schedules.items():
            listed = isinstance(schedule, Sequence) and not isinstance(schedule, str) and schedule
            if not listed and not callable(schedule):
                raise ValueError(
                    f"The schedule of {name!r} must be a function of the epoch, or a list with a value for each. "
                    f"Received: schedules={schedules!r}"
                )
        self.schedules, self.planned = dict(schedules), frozenset(schedules)

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the hyperparameters."""
        self.find(self.schedules)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Gives them the values of the epoch."""
        values = {
            name: plan(epoch) if callable(plan) else plan[min(epoch, len(plan) - 1)]
            for name, plan in self.schedules.items()
        }
        set_hyperparameters(self.model, values)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"schedules": self.schedules}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HyperparameterSchedule:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)


@export("callbacks.ReplaySchedule", kind="callback", arxiv="1903.03088", year=2019)
class ReplaySchedule(ScheduleCallback):
    """Replayed schedule: gives hyperparameters the values that a tuner found for them, step by step, in a plain `fit`.

    A schedule that was found with a part of the data held out is so used in a training on all of them. The values are
    in the logs.

    Args:
        schedule: The schedule, as `callbacks.SelfTuning` has it as its `schedule`, or in the form of
            `keras_reg.tune.schedule.schedule_values`; it may come from a JSON file.
        by: What the runs have in common: `"share"`, the share of the training, whatever the number of epochs and of
            steps in one; or `"step"`, the number of the step, after the last one of which the last values stay.

    Raises:
        ValueError: If the schedule has another form; at the start of `fit`, if the model has no hyperparameter of a
            name, a value is outside of its bounds, or the number of steps is not known to `by="share"`, or to a resumed
            training.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.0, low=0.0, high=0.9)
    model = keras.Sequential([keras.Input((6,)), keras_reg.layers.TunableDropout(rate), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = {"total_steps": 300, "steps": [0, 100, 200], "values": {"dropout": [0.2, 0.3, 0.4]}}
    replay = keras_reg.callbacks.ReplaySchedule(schedule)
    model.fit(x, y, epochs=3, callbacks=[replay]).history["dropout"]  # [0.2, 0.3, 0.4]
    ```

    Source: Matthew MacKay et al., Self-Tuning Networks, arXiv 1903.03088, 2019, who replay schedules of dropout rates.
    """

    def __init__(self, schedule: Mapping[str, Any], by: str = "share") -> None:
        super().__init__()
        self.schedule = check_schedule(schedule)
        self.planned = frozenset(self.schedule["values"])
        if by not in ("share", "step"):
            raise ValueError(f"`by` must be 'share' or 'step'. Received: by={by!r}")
        self.by = by
        self._step = self._next = 0
        self._total: int | None = None
        self._present: dict[str, float] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the hyperparameters, and how many steps there are."""
        self.find(self.schedule["values"])
        self._present, self._next, self._total = {}, 0, None
        steps = self.params.get("steps")
        if self.by == "share":
            if steps is None:
                raise ValueError(
                    "The number of steps of an epoch is not known beforehand: give `fit` its `steps_per_epoch`, or "
                    "replay by='step'. Received: by='share'"
                )
            self._total = steps * self.params["epochs"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Goes on where a resumed training is."""
        steps = self.params.get("steps")
        if steps is None and epoch and not self._next:
            raise ValueError(
                "How many steps the epochs before this one had is not known: give `fit` its `steps_per_epoch`. "
                f"Received: a `fit` that begins with epoch {epoch}"
            )
        self._step = self._next if steps is None else epoch * steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Gives them the values of the step, where these are others than before."""
        values = schedule_values(self.schedule, self._step + batch, self._total)
        if values != self._present:
            set_hyperparameters(self.model, values)
            self._present = values

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the steps."""
        self._next = self._step + batch + 1

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"schedule": self.schedule, "by": self.by}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ReplaySchedule:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)
