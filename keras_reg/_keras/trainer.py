"""Works around Keras's trainers. `tests/_keras/test_keras_faults.py` has a canary for each workaround.

A canary shows the behavior with Keras alone. It fails once Keras changes this behavior. The workaround can then be
removed.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import Any

import keras

from keras_reg._keras.call_stack import frames


def find_fit_callbacks(member: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that train together with `member`. Call it from one of the hooks of `member`.

    Keras does not pass this list to a callback, so this function looks for it on the call stack, above the hook.
    """
    for frame in frames():
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList) and member in owner.callbacks:
            return list(owner.callbacks)
    return [member]


def restore_jax_state(model: keras.Model, state: Any) -> None:
    """Restores a model's variables after a training step on JAX has raised.

    While JAX trains, the variables are empty, and their values are passed to the step as `state`. If a step raises, in
    particular the first step of an epoch, Keras leaves the variables empty and the user's weights are lost.

    Args:
        model: The model.
        state: The first argument of the step that raised. On other backends this function is a no-op.
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
    """Returns True if a training step raised only because its data ran out, which is how Keras ends an epoch."""
    return isinstance(error, StopIteration) or type(error).__name__ == "OutOfRangeError"


def compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns the arguments that `compile` received.

    The public `get_compile_config` serializes all of them, and raises if one of them cannot be serialized.
    """
    config = getattr(model, "_compile_config", None)
    return {} if config is None else config.config


def is_fit_starting() -> bool:
    """Returns True if a callback gets its model because `fit` begins. Call it in `set_model`.

    `evaluate` and `predict` call `set_model` in the same way, so this function looks for the caller on the call stack.
    """
    for frame in frames():
        name = frame.f_code.co_name
        if name in ("fit", "evaluate", "predict") and isinstance(frame.f_locals.get("self"), keras.Model):
            return name == "fit"
    return False


def is_called_by_fit() -> bool:
    """Returns True if the function that calls this one was called by `fit` directly. Call it in `make_train_function`.

    `fit` calls `make_train_function` once, before it trains. No public hook of a model says that `fit` begins.
    """
    caller = next(itertools.islice(frames(), 1, None), None)
    return caller is not None and caller.f_code.co_name == "fit"


def find_fit_data() -> dict[str, Any]:
    """Returns what `fit` received as training and as validation data. Call it from a hook of a callback.

    Keras does not pass the data to callbacks, so this function looks for them on the call stack.
    """
    for frame in frames():
        if frame.f_code.co_name == "fit" and isinstance(frame.f_locals.get("self"), keras.Model):
            found = frame.f_locals
            return {"training": (found.get("x"), found.get("y")), "validation": found.get("validation_data")}
    return {}


def has_training_argument(function: Callable[..., Any]) -> bool:
    """Returns True if a function accepts the argument `training`."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def find_loss_tracker(model: keras.Model) -> keras.metrics.Metric:
    """Returns the metric that carries the state: the mean of the loss, which every compiled model has."""
    for metric in model.metrics:
        if isinstance(metric, keras.metrics.Mean):
            return metric
    raise ValueError(
        "The model's `metrics` must contain a `keras.metrics.Mean`, such as the tracker of the loss, which carries the "
        f"method's state. Received: metrics={model.metrics}"
    )
