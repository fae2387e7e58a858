"""A training step with something around it and after it, in the same compiled program."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras


def wrap_train_step(
    model: keras.Model,
    step: Callable[..., Any],
    around: Callable[[Any], contextlib.AbstractContextManager[Any]],
    change: Callable[[Any], Any],
    after: Callable[[Any], None],
) -> Callable[..., Any]:
    """The `train_step` that runs `step` on a changed batch inside `around`, and then `after`.

    Args:
        model: The model.
        step: Its `train_step`, which on JAX takes the values of all variables and returns the new ones.
        around: Takes the batch and gives a context manager. It may read and assign variables of the model, of its
            metrics and of callbacks, on every backend; so may the others.
        change: Takes the batch and gives the one that `step` gets.
        after: Takes the batch, as it was.
    """

    def followed(data: Any) -> Any:
        with around(data):
            logs = step(change(data))
        after(data)
        return logs

    def followed_on_jax(state: Any, data: Any) -> Any:
        context, state = _in_state(model, state, lambda: around(data))
        with context:
            changed, state = _in_state(model, state, lambda: change(data))
            logs, state = step(state, changed)
        _, state = _in_state(model, state, lambda: after(data))
        return logs, state

    return followed_on_jax if keras.backend.backend() == "jax" else followed


def _in_state(model: keras.Model, state: Any, function: Callable[[], Any]) -> tuple[Any, Any]:
    """What a function returns that reads and assigns variables, and the values of all afterwards."""
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
