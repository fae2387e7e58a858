"""The layers in a model or a layer, for every room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def iter_sublayers(
    layer: keras.Layer, parents: tuple[keras.Layer, ...] = ()
) -> Iterator[tuple[keras.Layer, tuple[keras.Layer, ...]]]:
    """Every layer below a model or layer, however deep, each with the layers that it is a part of.

    Args:
        layer: The model or layer.
        parents: What the layer itself is a part of; only for the recursion.

    Yields:
        The layer and the layers around it, from the outside in, without the model itself. A layer that is used in
        two places comes twice.
    """
    for child in sublayers(layer):
        yield child, parents
        yield from iter_sublayers(child, (*parents, child))


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers that a layer is made of, one level down."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    # Keras lists the layers of a model publicly, but not those of a layer: they are found among its attributes.
    own = {id(variable) for variable in layer.variables}
    found = {id(child): child for value in list(vars(layer).values()) for child in _layers_in(value)}
    # An attribute may also point at a layer that is no part of this one: the variables tell.
    return [child for child in found.values() if all(id(variable) in own for variable in child.variables)]


def _layers_in(value: Any) -> Iterator[keras.Layer]:
    if isinstance(value, keras.Layer):
        yield value
    elif isinstance(value, dict):
        yield from _layers_in(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        for element in value:
            yield from _layers_in(element)


def own_weights(layer: keras.Layer) -> list[keras.Variable]:
    """The weights that a layer has made itself, without those of the layers in it."""
    below = {id(variable) for child in sublayers(layer) for variable in child.weights}
    return [variable for variable in layer.weights if id(variable) not in below]
