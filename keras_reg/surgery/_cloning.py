"""Copies of models in which some layers are exchanged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

from keras_reg._keras.cloning import clone_recursively, has_graph
from keras_reg._validation import reject
from keras_reg.surgery import _anchors


def check_clonable(model: Any, advice: str) -> None:
    """Raises a `ValueError` for a model whose layers cannot be exchanged.

    Args:
        model: The user's argument.
        advice: A sentence that says what to do with a subclassed model.
    """
    if not isinstance(model, keras.Model):
        reject("model", model, "must be a `keras.Model`")
    if not has_graph(model):
        raise ValueError(
            "The code of a subclassed model calls its layers, so they cannot be exchanged from outside. "
            f"{advice} Received: model={model!r}"
        )
    if not model.built:
        raise ValueError(
            "The model has no weights yet. Add an `Input`, or call the model once on data. "
            f"Received: model={model.name!r}, which is not built"
        )


def clone(model: keras.Model, make: Callable[[keras.Layer], keras.Layer], stacklevel: int = 3) -> keras.Model:
    """Returns a model with the same graph and new layers.

    Args:
        model: A Sequential or Functional model, nested or not.
        make: Function that returns the new layer for a layer. It is called once per layer, even if the layer is used
            several times.
        stacklevel: The number of stack frames up to the user's code, for warnings. Defaults to `3`.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.
    """

    def make_inside(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):
            # This is an operation, such as an addition.
            return layer.__class__.from_config(layer.get_config())
        if isinstance(layer, keras.layers.TimeDistributed):
            # `clone_model` does not clone the layer inside of `TimeDistributed`.
            inner = clone_recursively(layer.layer, make_inside) if has_graph(layer.layer) else make(layer.layer)
            return keras.layers.TimeDistributed(inner, name=layer.name, trainable=layer.trainable)
        return make(layer)

    # Keras would also clone the compile configuration, and fail on a loss that is a custom function.
    compiled, model.compiled = model.compiled, False
    try:
        new = clone_recursively(model, make_inside)
    finally:
        model.compiled = compiled
    if compiled:
        _compile_alike(new, model, stacklevel + 1)
    return new


def exchange(model: keras.Model, replace: Callable[[keras.Layer], keras.Layer | None]) -> tuple[keras.Model, bool]:
    """Returns a model with the same graph and weights in which some layers are replaced.

    Args:
        model: A Sequential or Functional model, nested or not.
        replace: Returns the replacement of a layer, with its values, or `None` to copy the layer.

    Returns:
        The model, as `clone` returns it, and True if any layer was replaced.
    """
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    replaced: list[keras.Layer] = []

    def make(layer: keras.Layer) -> keras.Layer:
        replacement = replace(layer)
        if replacement is not None:
            replaced.append(layer)
            return replacement
        copy = plain_copy(layer)
        pairs.append((layer, copy))
        return copy

    new = clone(model, make, stacklevel=4)
    for old, copy in pairs:
        copy_layer_values(old, copy)
    return new, bool(replaced)


def _compile_alike(new: keras.Model, model: keras.Model, stacklevel: int) -> None:
    """Compiles the new model with the same loss, and with a new optimizer and new metrics, which have variables."""
    with warnings.catch_warnings():
        # Keras warns that it cannot serialize a lambda. This does not matter here, because the loss is passed on
        # unchanged.
        warnings.simplefilter("ignore", UserWarning)
        config = model.get_compile_config()
    config.pop("loss", None)
    try:
        arguments = keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"The new model is not compiled, since not all metrics of {model.name!r} can be created from their "
            "configuration. Compile the new model, or register the metrics with "
            f"`keras.saving.register_keras_serializable`. {error}",
            stacklevel=stacklevel,
        )
    else:
        new.compile(loss=getattr(model, "loss", None), **arguments)


def plain_copy(layer: keras.Layer) -> keras.Layer:
    """Returns a new layer with the same configuration."""
    return type(layer).from_config(layer.get_config())


def copy_layer_values(old: keras.Layer, new: keras.Layer) -> None:
    """Copies the values of a layer, and the anchors of its regularizers, to a layer with an equal configuration."""
    (old_variables, old_anchored), (new_variables, new_anchored) = _anchors.split(old), _anchors.split(new)
    copy_values(old_variables, new_variables)
    _anchors.take(old_anchored, new_anchored)


def copy_values(old: Iterable[keras.Variable], new: Iterable[keras.Variable]) -> None:
    """Copies values through the host.

    On JAX, a step deletes the buffers of its variables. A variable that shared a buffer with another model would lose
    its value in a step of that model.
    """
    for source, target in zip(old, new, strict=True):
        target.assign(ops.convert_to_numpy(source))
