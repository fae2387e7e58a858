"""Faults of Keras that the package works around: each is one function, named after the fault.

`tests/training/test_keras_faults.py` shows each fault with plain Keras and fails once Keras has mended it.
"""

from __future__ import annotations

import sys
from typing import Any

import keras


def callbacks_do_not_know_each_other(member: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    """The callbacks that train together with `member`; call it from one of its hooks.

    A callback is not told of the list it stands in, so the list is found on the call stack, above the hook.
    """
    frame = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList) and member in owner.callbacks:
            return list(owner.callbacks)
        frame = frame.f_back  # type: ignore[assignment]
    return [member]


def failed_jax_step_leaves_the_model_without_weights(model: keras.Model, state: Any) -> None:
    """Gives a model its variables back after a training step on JAX has raised.

    While JAX trains, the variables are empty and their values travel as `state`. A step that raises, the first one of
    an epoch in particular, leaves them empty: the user's weights are gone.
    """
    if keras.backend.backend() != "jax" or not isinstance(state, (tuple, list)) or len(state) != 4:
        return
    model.jax_state_sync()
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    for variables, values in zip(groups, state, strict=True):
        for variable, value in zip(variables, values, strict=True):
            if not value.is_deleted():
                variable.assign(value)


def is_end_of_data(error: BaseException) -> bool:
    """Whether a training step raised only because its data ran out, which is how Keras ends an epoch."""
    return isinstance(error, StopIteration) or type(error).__name__ == "OutOfRangeError"


def compile_arguments_are_told_all_or_none(model: keras.Model) -> dict[str, Any]:
    """What a model was compiled with.

    `get_compile_config` writes it all out, and fails on an optimizer, say, that cannot be written.
    """
    config = getattr(model, "_compile_config", None)
    return {} if config is None else config.config


def callbacks_are_not_told_what_begins() -> bool:
    """Whether it is for `fit`, not for `evaluate` or `predict`, that a callback gets its model; call it in `set_model`.

    `set_model` is the same for all three, so what begins is found on the call stack.
    """
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_name
        if name in ("fit", "evaluate", "predict") and isinstance(frame.f_locals.get("self"), keras.Model):
            return name == "fit"
        frame = frame.f_back  # type: ignore[assignment]
    return False


def callbacks_do_not_know_the_data() -> dict[str, Any]:
    """What `fit` got as training and as validation data; call it from a hook of a callback.

    A callback is not told of the data, so they are found on the call stack.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "fit" and isinstance(frame.f_locals.get("self"), keras.Model):
            found = frame.f_locals
            return {"training": (found.get("x"), found.get("y")), "validation": found.get("validation_data")}
        frame = frame.f_back  # type: ignore[assignment]
    return {}
