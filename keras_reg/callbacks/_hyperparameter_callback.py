"""What callbacks have in common that hold a hyperparameter, as layers and regularizers do."""

from __future__ import annotations

from typing import Any, TypeVar

import keras

from keras_reg._keras.callback_model import model_without_update
from keras_reg.training import ObjectiveCallback
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._state import VariableState
from keras_reg.tune._attachment import attach, detach
from keras_reg.tune.hyperparameter import Hyperparameter

_Own = TypeVar("_Own", bound="HyperparameterCallback")


class HyperparameterCallback(ObjectiveCallback):
    """Base of callbacks that soften labels by a hyperparameter, which is one of the model's while it trains.

    Args:
        hyperparameter: It. Schedules and tuners in the same `fit` find it by its name.
        output: The name of the output to work on, for a model with several.
    """

    one_model = False

    def __init__(self, hyperparameter: Hyperparameter, output: str | None = None) -> None:
        super().__init__()
        self.hyperparameter, self.output = hyperparameter, output

    def set_model(self, model: keras.Model) -> None:
        """Lends the hyperparameter, before any callback looks for it."""
        super().set_model(model)
        attach(model, self, self.hyperparameter)

    def detach(self) -> None:
        """Takes everything off the model."""
        super().detach()
        model = model_without_update(self)
        if model is not None:
            detach(model, self)

    def check_model(self, model: keras.Model) -> None:
        """Settles how the compiled loss sees predictions and labels."""
        self._loss = CompiledCrossEntropy(model, self.output)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The present value: an input of the step, and in its checkpoints."""
        return [VariableState([self.hyperparameter.variable], "hyperparameter")]

    @classmethod
    def from_config(cls: type[_Own], config: dict[str, Any]) -> _Own:
        """Builds a callback from the arguments that `get_config` gave."""
        return cls(**config)
