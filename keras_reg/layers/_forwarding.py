"""Calls that a wrapper forwards to the layer that it wraps."""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any

import keras

from keras_reg._types import Structure, Tensor


def copy_signature(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Returns a function with the signature of another one, and with the argument `training` if it is missing.

    Args:
        function: The function that is called.
        signature: The signature to copy.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    parameters = list(signature.parameters.values())
    if "training" not in signature.parameters:
        parameters.append(inspect.Parameter("training", inspect.Parameter.KEYWORD_ONLY, default=None))
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return call


def call_with_values(
    layer: keras.layers.Layer, values: dict[int, Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Structure, list[Tensor]]:
    """Calls a layer with replaced values of some variables. Values that the layer assigns are kept.

    Args:
        layer: The layer.
        values: The values that replace those of variables, by the id of the variable.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Returns:
        The outputs, and a list of copies of the losses that the call added.
    """
    # On JAX a variable has its traced value in the innermost scope only, so that scope must list all variables.
    state = [(variable, values.get(id(variable), variable.value)) for variable in layer.variables]
    with keras.StatelessScope(state, collect_losses=True) as scope:
        before = [scope.get_current_value(variable) for variable, _ in state]
        outputs = layer(*args, **kwargs)
    for (variable, _), value in zip(state, before, strict=True):
        after = scope.get_current_value(variable)
        if after is not value:  # The layer has assigned a variable, such as the seed of its dropout.
            variable.assign(after)
    return outputs, [_copy_loss(loss) for loss in scope.losses]


def _copy_loss(loss: Tensor) -> Tensor:
    """Returns a copy of a loss that keeps the original alive.

    Keras identifies losses by the id of the object, and the original counts for the layer that added it. If the
    original were deleted, a later loss could get its id.
    """
    copy = loss + 0
    weakref.finalize(copy, lambda _: None, loss).atexit = False
    return copy
