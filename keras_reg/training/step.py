"""A training step that is followed by something else, in the same compiled program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def followed_by(model: keras.Model, step: Callable[..., Any], after: Callable[[Any], None]) -> Callable[..., Any]:
    """The `train_step` that runs `step` and then `after`.

    Args:
        model: The model.
        step: Its `train_step`, which on JAX takes the values of all variables and returns the new ones.
        after: Takes the batch. It may read and assign variables of the model, of its metrics and of callbacks, on every
            backend.
    """

    def followed(data: Any) -> Any:
        logs = step(data)
        after(data)
        return logs

    def followed_on_jax(state: Any, data: Any) -> Any:
        logs, state = step(state, data)
        groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        pairs = [pair for group, values in zip(groups, state, strict=True) for pair in zip(group, values, strict=True)]
        with keras.StatelessScope(state_mapping=pairs) as scope:
            after(data)
        return logs, tuple([scope.get_current_value(variable) for variable in group] for group in groups)

    return followed_on_jax if keras.backend.backend() == "jax" else followed
