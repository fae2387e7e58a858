"""Clones of models that contain other models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def has_graph(layer: Any) -> bool:
    """Returns True if a layer is a Sequential or Functional model. Keras cannot clone other models layer by layer."""
    # The class of Functional models has no public name. They are the only models that list their operations.
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def clone_recursively(model: keras.Model, clone_function: Callable[[Any], Any]) -> keras.Model:
    """Clones a model layer by layer, including models that are nested in it at any depth.

    `keras.models.clone_model(recursive=True)` clones only one level of nested models before Keras 3.14: it passes the
    models inside a nested model to `clone_function`, as if they were layers. From Keras 3.14 on, this function is not
    needed.

    Args:
        model: A Sequential or Functional model.
        clone_function: Returns the clone of a layer or an operation. It is called once for each, even if several models
            share it.

    Returns:
        The clone.
    """
    clones: dict[int, Any] = {}

    def clone(layer: Any) -> Any:
        if id(layer) not in clones:
            if has_graph(layer):
                clones[id(layer)] = keras.models.clone_model(layer, clone_function=clone)
            else:
                clones[id(layer)] = clone_function(layer)
        return clones[id(layer)]

    return clone(model)
