"""Small states that the compiled step reads and that a callback sets between epochs, without a new trace."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas


class StateMetric(keras.metrics.Metric):
    """A metric only because every Keras trainer threads the variables of metrics through its compiled step."""

    def reset_state(self) -> None:
        """Does nothing: the callback sets the state, not the epoch."""

    def update_state(self, *arguments: Any, **keywords: Any) -> None:
        """Does nothing: the step only reads."""

    def result(self) -> dict[str, Any]:
        """Nothing: this is not a number for the logs."""
        return {}


class Scalar(StateMetric):
    """A float32 number. Create it inside the model's strategy scope.

    Args:
        name: Its name in checkpoints.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.value = replicas.replicated_variable(shape=(), dtype="float32", name="value")

    def set(self, value: float) -> None:
        """Gives it a value, on every replica; between steps, as in `on_epoch_begin`."""
        self.value.assign(value)


class ArrayState(StateMetric):
    """Arrays. Create them inside the model's strategy scope.

    Args:
        arrays: Their first values, which say shapes and types too.
        name: Their name in checkpoints.
    """

    def __init__(self, arrays: list[np.ndarray], name: str) -> None:
        super().__init__(name=name)
        self.values = [_copy(array, f"{name}_{index}") for index, array in enumerate(arrays)]

    def set(self, arrays: list[np.ndarray]) -> None:
        """Gives them values, on every replica; between steps, as in `on_epoch_begin`."""
        for variable, array in zip(self.values, arrays, strict=True):
            variable.assign(array)


class VariableState(StateMetric):
    """Variables that were made elsewhere, as those of an optimizer that a callback uses.

    Args:
        variables: The variables.
        name: Their name in checkpoints.
    """

    def __init__(self, variables: list[keras.Variable], name: str) -> None:
        super().__init__(name=name)
        self.values = list(variables)


class MovingMean(StateMetric):
    """The moving mean of a number over the steps, corrected for its start at zero. Create it in the strategy scope.

    Args:
        momentum: How much of the mean is kept in each step.
        name: Its name in checkpoints.
    """

    def __init__(self, momentum: float, name: str) -> None:
        super().__init__(name=name)
        self.momentum = momentum
        # The sum of the values and the sum of their weights.
        self.sums = replicas.replicated_variable(shape=(2,), dtype="float32", name="sums")

    def read_and_update(self, values: Any) -> Any:
        """The mean of the steps so far, of this one if it is the first; then takes in this step's, of all replicas."""
        now = ops.mean(replicas.all_gather(ops.cast(ops.stop_gradient(values), "float32")))
        total, weight = ops.unstack(ops.convert_to_tensor(self.sums), 2)
        before = ops.where(weight > 0, total / ops.maximum(weight, 1e-12), now)
        rest = 1 - self.momentum
        self.sums.assign(ops.stack([self.momentum * total + rest * now, self.momentum * weight + rest]))
        return before


class WeightAverage(StateMetric):
    """The mean of a model's weights over some epochs. Create it inside the model's strategy scope.

    Args:
        variables: The weights; the mean takes their memory a second time.
        name: Its name in checkpoints.
    """

    def __init__(self, variables: list[keras.Variable], name: str = "weight_average") -> None:
        super().__init__(name=name)
        self.means = [_copy(variable, f"mean_{index}") for index, variable in enumerate(variables)]
        self.count = Scalar("count")
        self.position = Scalar("position")

    def add(self, variables: list[keras.Variable], position: int) -> None:
        """Adds the current weights to the mean, between steps. Drops what another training has added.

        Args:
            variables: The weights.
            position: The number of averaged epochs before this one. A training that begins among them adds fewer.
        """
        kept = self._kept(position)
        arrays = self.with_present(variables, position)
        for mean, array in zip(self.means, arrays, strict=True):
            mean.assign(array)
        self.count.set(kept + 1)
        self.position.set(position + 1)

    def _kept(self, position: int) -> int:
        """Returns how many epochs are in the mean; 0 if this epoch does not follow the last of them."""
        position_of_next, count = (int(ops.convert_to_numpy(s.value)) for s in (self.position, self.count))
        return count if position_of_next == position else 0

    def with_present(self, variables: list[keras.Variable], position: int) -> list[np.ndarray]:
        """Returns the mean with the current weights added; the arguments are those of `add`."""
        kept = self._kept(position)
        pairs = zip(copies(self.means), copies(variables), strict=True)
        return [((kept * mean + present) / (kept + 1)).astype(present.dtype) for mean, present in pairs]


def copies(variables: list[keras.Variable]) -> list[np.ndarray]:
    """The present values of variables, on the host."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


class FrozenModel(StateMetric):
    """A copy of a model's weights that predicts in inference mode. Create it inside the model's strategy scope.

    Args:
        model: The built model; the copy takes its memory a second time.
        name: Its name.
    """

    def __init__(self, model: keras.Model, name: str = "frozen_model") -> None:
        super().__init__(name=name)
        # A weak reference behind a method: Keras looks through attributes when it saves, and would walk in a circle.
        self._model = weakref.ref(model)
        self.trainable_copies = [_copy(variable) for variable in model.trainable_variables]
        self.non_trainable_copies = [_copy(variable) for variable in model.non_trainable_variables]

    def _owner(self) -> keras.Model:
        model = self._model()
        if model is None:
            raise ValueError(f"The model that {self.name!r} is a copy of is gone. Received: a dead reference")
        return model

    def freeze(self) -> None:
        """Takes the model's present weights; between steps, as in `on_epoch_begin`."""
        model = self._owner()
        copies = (*self.trainable_copies, *self.non_trainable_copies)
        for copy, variable in zip(copies, (*model.trainable_variables, *model.non_trainable_variables), strict=True):
            # Through NumPy: on JAX two variables must not share a buffer, or the next step donates it twice.
            copy.assign(ops.convert_to_numpy(variable))

    def predict(self, x: Any) -> Any:
        """The predictions of the frozen weights for a batch, without dropout and with the moving statistics."""
        model = self._owner()
        outputs, _ = model.stateless_call(
            [copy.value for copy in self.trainable_copies],
            [copy.value for copy in self.non_trainable_copies],
            x,
            training=False,
        )
        return outputs


def _copy(variable: Any, name: str | None = None) -> keras.Variable:
    value = ops.convert_to_numpy(variable)
    return replicas.replicated_variable(value, dtype=variable.dtype, name=name or variable.name)
