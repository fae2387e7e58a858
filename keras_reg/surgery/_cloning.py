"""Equal models with some layers exchanged."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

from keras_reg.surgery import _anchors


def check_clonable(model: Any, what: str) -> None:
    """Raises a `ValueError` for a model whose layers cannot be exchanged.

    Args:
        model: What the user gave.
        what: What to do instead with a subclassed model, a sentence.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a keras.Model. Received: model={model!r}")
    if not _has_a_graph(model):
        raise ValueError(
            "the layers of a subclassed model are called by its own code and cannot be exchanged from outside. "
            f"{what} Received: model={model!r}"
        )
    if not model.built:
        raise ValueError(
            "the model has no weights yet: give it an Input, or call it once on data. "
            f"Received: model={model.name!r}, which is not built"
        )


def _has_a_graph(layer: keras.Layer) -> bool:
    # The class of Functional models has no public name; they alone know their operations.
    return isinstance(layer, keras.Sequential) or hasattr(layer, "operations")


def clone(model: keras.Model, make: Callable[[keras.Layer], keras.Layer], stacklevel: int = 3) -> keras.Model:
    """A model of the same graph, with a new layer in place of each.

    Args:
        model: A Sequential or Functional model, nested or not.
        make: Makes the new layer of a layer. A layer that is used several times is asked for once.
        stacklevel: How far up the user's code is, for warnings.

    Returns:
        The model; compiled, with a new optimizer, if the given one is.
    """

    def make_inside(layer: Any) -> Any:
        if not isinstance(layer, keras.layers.Layer):  # an operation, such as an addition
            return layer.__class__.from_config(layer.get_config())
        if isinstance(layer, keras.layers.TimeDistributed):
            # Keras does not look into these.
            inner = make_all(layer.layer) if _has_a_graph(layer.layer) else make(layer.layer)
            return keras.layers.TimeDistributed(inner, name=layer.name, trainable=layer.trainable)
        return make(layer)

    def make_all(model: keras.Model) -> keras.Model:
        return keras.models.clone_model(model, clone_function=make_inside, recursive=True)

    compiled, model.compiled = model.compiled, False  # or Keras would fail on a loss that is a function of one's own
    try:
        new = make_all(model)
    finally:
        model.compiled = compiled
    if compiled:
        _compile_alike(new, model, stacklevel + 1)
    return new


def exchange(model: keras.Model, other: Callable[[keras.Layer], keras.Layer | None]) -> tuple[keras.Model, bool]:
    """A model of the same graph and weights, with other layers in place of some.

    Args:
        model: A Sequential or Functional model, nested or not.
        other: Makes what comes in place of a layer, with its values; `None` for the layer itself.

    Returns:
        The model, as `clone` makes it, and whether any layer was exchanged.
    """
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    exchanged: list[keras.Layer] = []

    def make(layer: keras.Layer) -> keras.Layer:
        instead = other(layer)
        if instead is not None:
            exchanged.append(layer)
            return instead
        copy = plain_copy(layer)
        pairs.append((layer, copy))
        return copy

    new = clone(model, make, stacklevel=4)
    for old, copy in pairs:
        copy_layer_values(old, copy)
    return new, bool(exchanged)


def _compile_alike(new: keras.Model, model: keras.Model, stacklevel: int) -> None:
    """Compiles with the same loss and with new optimizer and metrics, which have variables."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of lambdas
        config = model.get_compile_config()
    config.pop("loss", None)
    try:
        arguments = keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError) as error:
        warnings.warn(
            f"The new model is not compiled, since not all metrics of {model.name!r} can be made anew: compile it, or "
            f"register them with `keras.saving.register_keras_serializable`. {error}",
            stacklevel=stacklevel,
        )
    else:
        new.compile(loss=getattr(model, "loss", None), **arguments)


def plain_copy(layer: keras.Layer) -> keras.Layer:
    """A new layer of the same configuration."""
    return type(layer).from_config(layer.get_config())


def copy_layer_values(old: keras.Layer, new: keras.Layer) -> None:
    """Gives a layer of the same configuration the values of another one, and the anchors of its regularizers."""
    (of_old, old_anchors), (of_new, new_anchors) = _anchors.split(old), _anchors.split(new)
    copy_values(of_old, of_new)
    _anchors.take(old_anchors, new_anchors)


def copy_values(old: Iterable[keras.Variable], new: Iterable[keras.Variable]) -> None:
    """Assigns values through the host: on JAX, what shares a buffer with another model dies with that model's step."""
    for source, target in zip(old, new, strict=True):
        target.assign(ops.convert_to_numpy(source))
