"""Small states that the compiled step reads and that a callback sets between epochs, without a new trace."""

from __future__ import annotations

import weakref
from typing import Any

import keras
from keras import ops


class _Held(keras.metrics.Metric):  # type: ignore[misc]
    """A metric only because every Keras trainer threads the variables of metrics through its compiled step."""

    def reset_state(self) -> None:
        """Does nothing: the callback sets the state, not the epoch."""

    def update_state(self, *arguments: Any, **keywords: Any) -> None:
        """Does nothing: the step only reads."""

    def result(self) -> dict[str, Any]:
        """Nothing: this is not a number for the logs."""
        return {}


class Scalar(_Held):
    """A float32 number. Create it inside the model's strategy scope.

    Args:
        name: Its name in checkpoints.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.value = keras.Variable(
            initializer="zeros",
            shape=(),
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            synchronization="on_read",
            name="value",
        )

    def set(self, value: float) -> None:
        """Gives it a value, on every replica; between steps, as in `on_epoch_begin`."""
        self.value.assign(value)


class FrozenModel(_Held):
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


def _copy(variable: keras.Variable) -> keras.Variable:
    return keras.Variable(
        ops.convert_to_numpy(variable),
        dtype=variable.dtype,
        trainable=False,
        aggregation="only_first_replica",
        synchronization="on_read",
        name=variable.name,
    )
