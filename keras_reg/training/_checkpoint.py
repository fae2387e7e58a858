"""Saves the state of callbacks with the weights of the model that they train, while `fit` runs.

`ModelCheckpoint` and `BackupAndRestore` write and read every attribute of the model that holds variables, so that a
resumed `fit` finds the state again. The attribute is removed after `fit`.
"""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._memory.memory import PerSampleMemory
from keras_reg.training._hooks import ObjectiveHooks

_ATTRIBUTE = "keras_reg_training_state"


class _TrainingState(keras.losses.Loss):
    """Carries the state of callbacks. Keras saves it because it is a loss, which a built model accepts as attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.callbacks: list[ObjectiveHooks] = []

    def call(self, y_true: Any, y_pred: Any) -> Any:
        raise ValueError("This object only carries the state of callbacks into checkpoints.")

    def save_own_variables(self, store: Any) -> None:
        for callback in self.callbacks:
            for key, value in state_arrays(callback).items() if callback.save_memory else ():
                store[key] = value

    def load_own_variables(self, store: Any) -> None:
        stored = {key: np.asarray(store[key]) for key in store.keys()}  # noqa: SIM118  (an HDF5 group is no dict)
        for callback in self.callbacks:
            load_arrays(callback, stored)


def register(model: keras.Model, callback: ObjectiveHooks) -> None:
    """Makes checkpoints of `model` hold the state of `callback`."""
    if not hasattr(model, _ATTRIBUTE):
        setattr(model, _ATTRIBUTE, _TrainingState())
    callbacks = getattr(model, _ATTRIBUTE).callbacks
    if callback not in callbacks:
        callbacks.append(callback)


def unregister(model: keras.Model, callback: ObjectiveHooks) -> None:
    """Removes `callback` from the checkpoints of `model`."""
    holder = getattr(model, _ATTRIBUTE, None)
    if holder is None:
        return
    if callback in holder.callbacks:
        holder.callbacks.remove(callback)
    if not holder.callbacks:
        delattr(model, _ATTRIBUTE)


def state_arrays(callback: ObjectiveHooks) -> dict[str, np.ndarray]:
    """Returns the state of a callback as named arrays. The dictionary is empty if there is no state yet."""
    arrays = {key: _read(metric, variable) for key, (metric, variable) in _named_variables(callback).items()}
    # HDF5 and NumPy files have no bfloat16. float32 represents each of its numbers exactly.
    return {key: a.astype("float32") if a.dtype.name == "bfloat16" else a for key, a in arrays.items()}


def load_arrays(callback: ObjectiveHooks, arrays: dict[str, np.ndarray]) -> None:
    """Assigns named arrays to the state of a callback, or keeps them until its variables exist.

    Raises:
        ValueError: If the shape of an array differs from that of the callback's variable.
    """
    if not callback.state:
        callback.pending_state = arrays
        return
    variables = _named_variables(callback)
    for key, (metric, variable) in variables.items():
        if key in arrays and tuple(arrays[key].shape) != _shape(metric, variable):
            raise ValueError(
                f"The saved state {key!r} of {type(callback).__name__} does not fit: its shape is {arrays[key].shape}, "
                f"expected {_shape(metric, variable)}. Was it saved with a different `num_samples`, `num_classes` or "
                "`storage`?"
            )
    for key, (metric, variable) in variables.items():
        if key in arrays:
            array = arrays[key].astype(variable.dtype)
            if isinstance(metric, PerSampleMemory):
                metric.restore(variable, array)
            else:
                variable.assign(array)


def restore_pending(callback: ObjectiveHooks) -> None:
    """Loads the arrays that a checkpoint or `load_state` has provided before the variables existed."""
    arrays, callback.pending_state = callback.pending_state, {}
    if arrays:
        load_arrays(callback, arrays)


def save_file(callback: ObjectiveHooks, path: str | pathlib.Path) -> None:
    """Writes a callback's state to an `.npz` file.

    Raises:
        ValueError: If the callback was never in a `fit`.
    """
    if callback.made_for is None:
        raise ValueError(f"This {type(callback).__name__} has no state to save. Pass it to `fit` first.")
    with open(path, "wb") as file:
        np.savez(file, **state_arrays(callback))  # type: ignore[arg-type]


def load_file(callback: ObjectiveHooks, path: str | pathlib.Path) -> None:
    """Reads a callback's state from an `.npz` file.

    Raises:
        ValueError: If the file has the state of another callback.
    """
    with np.load(path, allow_pickle=False) as file:
        if file.files and not any(key.startswith(f"{_prefix(callback)}.") for key in file.files):
            raise ValueError(
                f"The file has no state of this {type(callback).__name__}, whose name is {_prefix(callback)!r}. "
                f"Received: {str(path)!r} with {file.files}"
            )
        load_arrays(callback, {key: file[key] for key in file.files})


def _prefix(callback: ObjectiveHooks) -> str:
    return callback.term_names[0] if callback.term_names else type(callback).__name__


def _read(metric: keras.metrics.Metric, variable: keras.Variable) -> np.ndarray:
    if isinstance(metric, PerSampleMemory):
        return metric.saved(variable)
    return np.asarray(ops.convert_to_numpy(variable))


def _shape(metric: keras.metrics.Metric, variable: keras.Variable) -> tuple[int, ...]:
    if isinstance(metric, PerSampleMemory):
        return metric.saved_shape(variable)
    return tuple(variable.shape)


def _named_variables(callback: ObjectiveHooks) -> dict[str, tuple[keras.metrics.Metric, keras.Variable]]:
    return {
        f"{_prefix(callback)}.{metric.name}.{variable.name}": (metric, variable)
        for metric in callback.saved_state()
        for variable in metric.variables
    }
