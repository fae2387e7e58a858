"""The base class of label callbacks that hold a hyperparameter."""

from __future__ import annotations

import keras

from keras_reg._keras.callback_model import model_without_update
from keras_reg._validation import check_string
from keras_reg.callbacks._configurable import Configurable
from keras_reg.training import ObjectiveCallback
from keras_reg.training._cross_entropy import CompiledCrossEntropy
from keras_reg.training._state import VariableState
from keras_reg.tune._attachment import attach, detach
from keras_reg.tune._hyperparameter import Hyperparameter


class HyperparameterCallback(Configurable, ObjectiveCallback):
    """Changes labels by the amount of a hyperparameter, which belongs to the model during `fit`.

    Args:
        hyperparameter: The hyperparameter. Schedules and tuners in the same `fit` find it by its name.
        output: String. The name of the output to work on, for a model with several. Defaults to `None`.
    """

    one_model = False

    def __init__(self, hyperparameter: Hyperparameter, output: str | None = None) -> None:
        super().__init__()
        self.hyperparameter = hyperparameter
        self.output = check_string("output", output, optional=True)

    def set_model(self, model: keras.Model) -> None:
        """Attaches the hyperparameter to the model, before any callback looks for hyperparameters."""
        super().set_model(model)
        attach(model, self, self.hyperparameter)

    def detach(self) -> None:
        """Removes everything that the method added to the model."""
        super().detach()
        model = model_without_update(self)
        if model is not None:
            detach(model, self)

    def check_model(self, model: keras.Model) -> None:
        """Determines how the compiled loss reads predictions and labels."""
        self._loss = CompiledCrossEntropy(model, self.output)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Returns the state that holds the current value, so that the step reads it and checkpoints contain it."""
        return [VariableState([self.hyperparameter.variable], "hyperparameter")]
