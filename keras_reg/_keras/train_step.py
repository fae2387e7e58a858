"""Runs functions around and after a training step, in the same compiled program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from keras_reg._types import Structure


def wrap_train_step(
    model: keras.Model,
    step: Callable[..., Any],
    around: Callable[[Structure], contextlib.AbstractContextManager[Any]],
    change: Callable[[Structure], Structure],
    after: Callable[[Structure], None],
) -> Callable[..., Any]:
    """Returns a `train_step` that runs `step` on a changed batch inside a context, and then runs `after`.

    On every backend, `around`, `change` and `after` may read and assign variables of the model, of its metrics and of
    callbacks.

    Args:
        model: A `keras.Model`.
        step: Callable. The model's `train_step`. On JAX it takes the values of all variables and returns new ones.
        around: Callable. Takes the original batch and returns the context manager.
        change: Callable. Takes the original batch and returns the batch for `step`.
        after: Callable. Takes the original batch.
    """

    def wrapped_step(data: Structure) -> Any:
        with around(data):
            logs = step(change(data))
        after(data)
        return logs

    def wrapped_jax_step(state: Structure, data: Structure) -> Any:
        context, state = _run_in_state(model, state, lambda: around(data))
        with context:
            changed, state = _run_in_state(model, state, lambda: change(data))
            logs, state = step(state, changed)
        _, state = _run_in_state(model, state, lambda: after(data))
        return logs, state

    return wrapped_jax_step if keras.backend.backend() == "jax" else wrapped_step


def _run_in_state(model: keras.Model, state: Structure, function: Callable[[], Any]) -> tuple[Any, Structure]:
    """Returns the result of a function that reads and assigns variables, and the values of all variables after it."""
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    pairs = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
    with keras.StatelessScope(state_mapping=pairs) as scope:
        result = function()
    return result, tuple([scope.get_current_value(variable) for variable in group] for group in groups)
