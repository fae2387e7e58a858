"""The layers of a model or of a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def iter_sublayers(
    layer: keras.Layer, parents: tuple[keras.Layer, ...] = ()
) -> Iterator[tuple[keras.Layer, tuple[keras.Layer, ...]]]:
    """Yields every layer below a model or layer, at any depth, each with the layers that contain it.

    Args:
        layer: A `keras.layers.Layer`. The model or layer.
        parents: Tuple. The layers that contain `layer`. Only the recursion passes it.

    Yields:
        The layer and a tuple of the layers that contain it, from the outside in, without the model or layer where the
        search starts. A layer that is used in two places is yielded twice.
    """
    for child in sublayers(layer):
        yield child, parents
        yield from iter_sublayers(child, (*parents, child))


def sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """Returns the layers that a layer consists of, one level down."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    # Keras has no public list of the layers of a layer, so they are found among its attributes.
    own = {id(variable) for variable in layer.variables}
    children = {id(child): child for value in list(vars(layer).values()) for child in _find_layers(value)}
    # An attribute may also refer to a layer elsewhere. Only children whose variables belong to this layer are kept.
    return [child for child in children.values() if all(id(variable) in own for variable in child.variables)]


def _find_layers(value: Any) -> Iterator[keras.Layer]:
    if isinstance(value, keras.Layer):
        yield value
    elif isinstance(value, dict):
        yield from _find_layers(list(value.values()))
    elif isinstance(value, (list, tuple, set)):
        for element in value:
            yield from _find_layers(element)


def own_weights(layer: keras.Layer) -> list[keras.Variable]:
    """Returns the weights that a layer has created, without those of its sublayers."""
    below = {id(variable) for child in sublayers(layer) for variable in child.weights}
    return [variable for variable in layer.weights if id(variable) not in below]
