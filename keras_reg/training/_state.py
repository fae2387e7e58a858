"""States that the compiled step reads, and that a callback sets between epochs without retracing."""

from __future__ import annotations

import weakref
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._validation import is_number, reject


class StateMetric(keras.metrics.Metric):
    """Holds variables. It is a metric, because every Keras trainer passes the variables of metrics through its step."""

    def reset_state(self) -> None:
        """Does nothing, because the callback sets the state and epochs do not reset it."""

    def update_state(self, *arguments: Any, **keywords: Any) -> None:
        """Does nothing, because the step only reads the state."""

    def result(self) -> dict[str, Any]:
        """Returns an empty result, because the state is not a number for the logs."""
        return {}


class Scalar(StateMetric):
    """Holds a float32 number that a callback changes between epochs and that the compiled step reads.

    Setting the number does not retrace or recompile the step. Create the scalar in
    `keras_reg.training.ObjectiveCallback.create_state` and return it from there, so that every backend passes it to the
    step and checkpoints contain it.

    Args:
        name: String. The name in checkpoints.
        value: Float. The initial value. Defaults to `0.0`.

    Attributes:
        value: The variable, for `terms` and the other hooks of the step.

    Raises:
        ValueError: If `value` is not a finite number.

    Example:

    ```python
    class ScheduledPenalty(keras_reg.training.ObjectiveCallback):
        term_names = ("squares",)

        def create_state(self, model):
            self.weight = keras_reg.training.Scalar("weight")
            return [self.weight]

        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            self.weight.set(0.01 * min(epoch / 5, 1.0))

        def terms(self, batch):
            logits = keras.ops.cast(batch.y_pred, "float32")
            squares = keras.ops.mean(keras.ops.square(logits), axis=-1)
            return {"squares": (self.weight.value * squares, None)}


    model.fit(x, y, callbacks=[ScheduledPenalty()])
    ```
    """

    def __init__(self, name: str, value: float = 0.0) -> None:
        super().__init__(name=name)
        initial = np.array(_check_float32(value), "float32")
        self.value = replicas.replicated_variable(initial, dtype="float32", name="value")

    def set(self, value: float) -> None:
        """Assigns a number, on every replica. Call it between epochs, as in `on_epoch_begin`.

        Args:
            value: Float, or an array or tensor with one number, such as a learning rate schedule returns.

        Raises:
            ValueError: If `value` is not a number that is finite in float32. The old value stays.
        """
        self.value.assign(_check_float32(value))


def _check_float32(value: Any) -> float:
    """Returns a number that is finite in float32, also from an array or a tensor of one number."""
    if not isinstance(value, (str, bytes)) and (hasattr(value, "__array__") or ops.is_tensor(value)):
        array = ops.convert_to_numpy(value)
        value = array.item() if array.size == 1 else value
    if not is_number(value) or abs(value) > float(np.finfo("float32").max):
        reject("value", value, "must be a number that is finite in float32")
    return float(value)


class ArrayState(StateMetric):
    """Holds arrays. Create it inside the model's strategy scope.

    Args:
        arrays: The initial values, which also define shapes and types.
        name: The name in checkpoints.
    """

    def __init__(self, arrays: list[np.ndarray], name: str) -> None:
        super().__init__(name=name)
        self.values = [_copy(array, f"{name}_{index}") for index, array in enumerate(arrays)]

    def set(self, arrays: list[np.ndarray]) -> None:
        """Assigns arrays, on every replica. Call it between steps, as in `on_epoch_begin`."""
        for variable, array in zip(self.values, arrays, strict=True):
            variable.assign(array)


class VariableState(StateMetric):
    """Holds variables that were created elsewhere, such as those of an optimizer that a callback uses.

    Args:
        variables: The variables.
        name: The name in checkpoints.
    """

    def __init__(self, variables: list[keras.Variable], name: str) -> None:
        super().__init__(name=name)
        self.values = list(variables)


class MovingMean(StateMetric):
    """Computes the moving mean of a number over the steps, with bias correction. Create it in the strategy scope.

    Args:
        momentum: The share of the mean that is kept in each step.
        name: The name in checkpoints.
    """

    def __init__(self, momentum: float, name: str) -> None:
        super().__init__(name=name)
        self.momentum = momentum
        # Holds the weighted sum of the values and the sum of their weights.
        self.sums = replicas.replicated_variable(shape=(2,), dtype="float32", name="sums")

    def read_and_update(self, values: Any) -> Any:
        """Returns the mean of the steps before this one, then adds the mean over the values of all replicas.

        In the first step it returns the mean of this step.

        Args:
            values: The values of this step, on this replica.
        """
        now = ops.mean(replicas.all_gather(ops.cast(ops.stop_gradient(values), "float32")))
        total, weight = ops.unstack(ops.convert_to_tensor(self.sums), 2)
        before = ops.where(weight > 0, total / ops.maximum(weight, 1e-12), now)
        rest = 1 - self.momentum
        self.sums.assign(ops.stack([self.momentum * total + rest * now, self.momentum * weight + rest]))
        return before


class WeightAverage(StateMetric):
    """Computes the mean of a model's weights over some epochs. Create it inside the model's strategy scope.

    Args:
        variables: The weights. The mean takes as much memory as the weights.
        name: The name in checkpoints.
    """

    def __init__(self, variables: list[keras.Variable], name: str = "weight_average") -> None:
        super().__init__(name=name)
        self.means = [_copy(variable, f"mean_{index}") for index, variable in enumerate(variables)]
        self.count = Scalar("count")
        self.position = Scalar("position")

    def add(self, variables: list[keras.Variable], position: int) -> None:
        """Adds the current weights to the mean, between steps. Drops what another training run has added.

        Args:
            variables: The weights.
            position: The number of averaged epochs before this one. A training run that begins among them adds fewer.
        """
        kept = self._kept(position)
        arrays = self.mean_with(variables, position)
        for mean, array in zip(self.means, arrays, strict=True):
            mean.assign(array)
        self.count.set(kept + 1)
        self.position.set(position + 1)

    def _kept(self, position: int) -> int:
        """Returns the number of epochs in the mean. It is 0 if this epoch does not follow the last one of them."""
        position_of_next, count = (int(ops.convert_to_numpy(s.value)) for s in (self.position, self.count))
        return count if position_of_next == position else 0

    def mean_with(self, variables: list[keras.Variable], position: int) -> list[np.ndarray]:
        """Returns the mean after adding the current weights. The arguments are those of `add`."""
        kept = self._kept(position)
        pairs = zip(copies(self.means), copies(variables), strict=True)
        return [((kept * mean + current) / (kept + 1)).astype(current.dtype) for mean, current in pairs]


def copies(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Returns the current values of variables, on the host."""
    return [np.array(ops.convert_to_numpy(variable)) for variable in variables]


class FrozenModel(StateMetric):
    """Holds a copy of a model's weights that predicts in inference mode. Create it inside the model's strategy scope.

    Args:
        model: The built model. The copy takes as much memory as its weights.
        name: The name in checkpoints.
    """

    def __init__(self, model: keras.Model, name: str = "frozen_model") -> None:
        super().__init__(name=name)
        # Keras traverses attributes when it saves. A strong reference to the model would create a cycle.
        self._model = weakref.ref(model)
        self.trainable_copies = [_copy(variable) for variable in model.trainable_variables]
        self.non_trainable_copies = [_copy(variable) for variable in model.non_trainable_variables]

    def _owner(self) -> keras.Model:
        model = self._model()
        if model is None:
            raise ValueError(f"The model of {self.name!r} was deleted. Received: a dead reference")
        return model

    def freeze(self) -> None:
        """Copies the model's current weights. Call it between steps, as in `on_epoch_begin`."""
        model = self._owner()
        copies = (*self.trainable_copies, *self.non_trainable_copies)
        for copy, variable in zip(copies, (*model.trainable_variables, *model.non_trainable_variables), strict=True):
            # The values are copied through NumPy, because a JAX step donates a buffer twice if two variables share it.
            copy.assign(ops.convert_to_numpy(variable))

    def predict(self, x: Any) -> Any:
        """Returns the predictions of the copied weights for a batch, without dropout and with moving statistics."""
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
