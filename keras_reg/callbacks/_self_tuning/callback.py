"""The part of `SelfTuning` that reports the tuned values in `logs`, in attributes and in a plot."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._plotting import new_figure
from keras_reg._types import Structure
from keras_reg.callbacks._self_tuning.checks import warn_about_bounds_and_unused
from keras_reg.callbacks._self_tuning.state import HyperparameterState
from keras_reg.callbacks._self_tuning.steps import TuningSteps
from keras_reg.training import ObjectiveCallback
from keras_reg.tune._hyperparameter import Hyperparameter


class TuningCallback(ObjectiveCallback):
    """Reports the values of the hyperparameters that the subclass `SelfTuning` tunes."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self._handles: dict[str, list[Hyperparameter]] = {}
        self._tuned: HyperparameterState | None = None
        self._steps: TuningSteps | None = None
        self._data: keras.metrics.Metric | None = None

    @property
    def values(self) -> dict[str, float]:
        """Returns the current values of the hyperparameters, by name."""
        return {} if updated_model(self) is None else {name: group[0].value for name, group in self._handles.items()}

    @property
    def schedule(self) -> dict[str, Any]:
        """Returns the values per step. `callbacks.ReplaySchedule` replays them in a `fit` without a tuner."""
        return self._read_tuned().build_schedule()

    @property
    def gradients(self) -> dict[str, float]:
        """Returns the mean gradient of the tuning loss with respect to each unconstrained value, over all steps."""
        return self._read_tuned().mean_gradients()

    @property
    def scales(self) -> dict[str, float]:
        """Returns the current standard deviations of the perturbations of the unconstrained values, by name."""
        return self._read_tuned().current_scales()

    def _read_tuned(self) -> HyperparameterState:
        if updated_model(self) is None or self._tuned is None:
            raise ValueError("There is nothing to read yet. Pass this SelfTuning to `fit` first.")
        return self._tuned

    def saved_state(self) -> list[keras.metrics.Metric]:
        """Returns all states except the tuning data."""
        return [metric for metric in self.state if metric is not self._data]

    def around_step(self, data: Structure) -> contextlib.AbstractContextManager[Any]:
        """Returns a context that, with `kind="stn"`, perturbs the hyperparameters in the model's own step."""
        return contextlib.nullcontext() if self._steps is None else self._steps.around_step(data)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Resets the mean tuning loss, and records the values at the start of the epoch."""
        super().on_epoch_begin(epoch, logs)
        if self._tuned is not None:
            self._tuned.loss.assign(np.zeros(2, "float32"))
            # A checkpoint may have restored unconstrained values that differ from those of the handles.
            self._tuned.assign_values()
            self._read_tuned().record_values()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the values and the mean tuning loss to `logs`."""
        super().on_epoch_end(epoch, logs)
        values = self.values
        for name, value in values.items():
            self.history[name].append(value)
        if logs is not None and self._tuned is not None:
            logs.update(values)
            total, count = ops.convert_to_numpy(self._tuned.loss)
            if count:
                logs["tuning_loss"] = float(total / count)

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off, and warns about reached bounds and unused hyperparameters."""
        super().on_train_end(logs)
        if self._steps is not None:
            warn_about_bounds_and_unused(self._handles, self._steps.used)

    def plot(self) -> Any:
        """Plots the values over the epochs, with one plot for each hyperparameter.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        self._read_tuned()
        figure = new_figure(figsize=(6, 2.2 * len(self.history) + 0.5), layout="constrained")
        axes = figure.subplots(len(self.history), 1, squeeze=False, sharex=True)[:, 0]
        for axis, (name, values) in zip(axes, self.history.items(), strict=True):
            axis.plot(np.arange(1, len(values) + 1), values)
            axis.set_yscale("log" if self._handles[name][0].log else "linear")
            axis.set_ylabel(name)
        axes[-1].set_xlabel("epoch")
        return figure
