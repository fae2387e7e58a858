"""What a callback that tunes hyperparameters shows, in `logs` and to be read."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_reg._keras.callback_model import updated_model
from keras_reg._plotting import new_figure
from keras_reg.callbacks._self_tuning.checks import warn_of_bounds_and_unused
from keras_reg.callbacks._self_tuning.state import HyperparameterState
from keras_reg.callbacks._self_tuning.steps import TuningSteps
from keras_reg.training import ObjectiveCallback
from keras_reg.tune.hyperparameter import Hyperparameter


class TuningCallback(ObjectiveCallback):
    """Base of `SelfTuning`: reads the numbers that are tuned."""

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self._handles: dict[str, list[Hyperparameter]] = {}
        self._numbers: HyperparameterState | None = None
        self._steps: TuningSteps | None = None

    @property
    def values(self) -> dict[str, float]:
        """The present values of the hyperparameters, by name."""
        return {} if updated_model(self) is None else {name: group[0].value for name, group in self._handles.items()}

    @property
    def schedule(self) -> dict[str, Any]:
        """The values by the step, to be replayed in a plain `fit` by `callbacks.ReplaySchedule`."""
        return self._read().schedule()

    @property
    def gradients(self) -> dict[str, float]:
        """The mean gradient of the tuning loss for each free number, over all steps of the hyperparameters so far."""
        return self._read().mean_gradients()

    @property
    def scales(self) -> dict[str, float]:
        """The present standard deviations of the perturbations of the free numbers, by name."""
        return self._read().present_scales()

    def _read(self) -> HyperparameterState:
        if updated_model(self) is None or self._numbers is None:
            raise ValueError("There is nothing to read yet: give this SelfTuning to `fit` first.")
        return self._numbers

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's mean."""
        super().on_epoch_begin(epoch, logs)
        if self._numbers is not None:
            self._numbers.loss.assign(np.zeros(2, "float32"))
            self._numbers.give_values()  # a checkpoint may have brought others
            self._read().remember()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Puts the values and the mean tuning loss into `logs`."""
        super().on_epoch_end(epoch, logs)
        values = self.values
        for name, value in values.items():
            self.history[name].append(value)
        if logs is not None and self._numbers is not None:
            logs.update(values)
            total, count = ops.convert_to_numpy(self._numbers.loss)
            if count:
                logs["tuning_loss"] = float(total / count)

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off, and says what looks wrong."""
        super().on_train_end(logs)
        if self._steps is not None:
            warn_of_bounds_and_unused(self._handles, self._steps.used)

    def plot(self) -> Any:
        """The values by the epoch, one picture for each hyperparameter.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        self._read()
        figure = new_figure(figsize=(6, 2.2 * len(self.history) + 0.5), layout="constrained")
        axes = figure.subplots(len(self.history), 1, squeeze=False, sharex=True)[:, 0]
        for axis, (name, values) in zip(axes, self.history.items(), strict=True):
            axis.plot(np.arange(1, len(values) + 1), values)
            axis.set_yscale("log" if self._handles[name][0].log else "linear")
            axis.set_ylabel(name)
        axes[-1].set_xlabel("epoch")
        return figure
