"""Regularizers with anchors in built models and in copies of models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_reg._keras.computed_weights import regularizers_with_state, variables_without_regularizers
from keras_reg._keras.step_inputs import StepInputVariable, track_extra_variables
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.regularizers._anchored import (
    AnchoredRegularizer,
    Constant,
    list_anchored,
    list_anchored_arguments,
)
from keras_reg.regularizers.sum import Sum, list_parts

_ATTRIBUTE = "keras_reg_anchors"


def check_plain_kernels(model: keras.Model, regularizers: dict[int, Any]) -> None:
    """Raises a `ValueError` if a kernel that is computed from its variable would get anchors.

    Args:
        model: The model.
        regularizers: The new regularizers, by the id of their variable.
    """
    for layer, _ in iter_sublayers(model):
        for kernel in layer.kernels if isinstance(layer, ReparameterizedLayer) else ():
            if list_anchored(regularizers.get(id(kernel.variable))):
                raise ValueError(
                    "Anchors are values of the weight, but this layer trains another parameter and computes the weight "
                    "from it. Call `keras_reg.fold` on the model first, or exclude the layer. "
                    f"Received: layer={layer!r}"
                )


def reuse(model: keras.Model, variable: keras.Variable, new: Any) -> Any:
    """Returns the current regularizer of a variable with the arrays of the new one, or the new one.

    A layer that was created with an anchored regularizer tracks it and cannot track a different one later. The current
    regularizer is therefore kept if it has the same class and shape and no other variable uses it. A sum with anchors
    is kept too, and gets the regularizers of the new sum.
    """
    old = variable.regularizer
    unshared = sum(other.regularizer is old for other in model.weights) == 1
    if unshared and isinstance(new, Sum) and isinstance(old, Sum) and list_anchored(old):
        old.copy_from(new)
        return old
    alike = isinstance(new, AnchoredRegularizer) and type(old) is type(new) and old.shape == new.shape
    if not alike or not unshared:
        return new
    old.strength = new.strength
    old.copy_from(new)
    return old


def place(layer: keras.Layer, attribute: str, regularizer: Any) -> None:
    """Sets a regularizer as an argument of a built layer, so that its configuration and its files contain it."""
    if isinstance(getattr(layer, attribute), keras.Layer) and getattr(layer, attribute) is not regularizer:
        # On PyTorch, an attribute that is a module accepts only another module.
        delattr(layer, attribute)
    if isinstance(regularizer, keras.Layer):
        # A built layer refuses new state. The model tracks the regularizer instead.
        vars(layer)[attribute] = regularizer
    else:
        setattr(layer, attribute, regularizer)


def track(model: keras.Model) -> None:
    """Makes the model track anchors and hyperparameters of its regularizers, so that they are inputs of the step.

    JAX compiles arrays that nothing tracks into the step as constants.
    """
    variables: list[StepInputVariable] = []
    for part in (part for regularizer in regularizers_with_state(model) for part in list_parts(regularizer)):
        if isinstance(part, AnchoredRegularizer):
            variables += part.constants.values()
        elif isinstance(part, keras.Layer):
            variables += map(StepInputVariable, part.variables)
    if track_extra_variables(model, _ATTRIBUTE, variables) or keras.backend.backend() != "jax":
        return
    if not all(isinstance(variable, Constant) for variable in variables):
        raise ValueError(
            "A subclassed model cannot track hyperparameters after it was built, and JAX would compile their current "
            "values into the step. Pass the regularizer to the layers when you create them. "
            f"Received: model={model!r}"
        )
    warnings.warn(
        "A subclassed model cannot track anchors after it was built, so JAX compiles them into the step. The results "
        "are correct, but the compiled step is large. To avoid this, pass the regularizer, with the `shape` of the "
        f"variable, to the layers when you create them, and then apply it. Received: model={model!r}",
        UserWarning,
        stacklevel=4,
    )


def split(layer: keras.Layer) -> tuple[list[keras.Variable], list[AnchoredRegularizer]]:
    """Returns the variables of a layer without those of its regularizers, and its anchored regularizers.

    Two layers with equal configurations yield matching lists, whether the layer or its model tracks the anchors.
    """
    parts = [layer, *(child for child, _ in iter_sublayers(layer) if not isinstance(child, AnchoredRegularizer))]
    regularizers = [r for part in parts for r in list_anchored_arguments(part)]
    anchors = {id(constant.state) for r in regularizers for constant in r.constants.values()}
    return [v for v in variables_without_regularizers(layer) if id(v) not in anchors], regularizers


def take(old: Iterable[AnchoredRegularizer], new: Iterable[AnchoredRegularizer]) -> None:
    """Copies the anchors of regularizers to those of a copied layer."""
    for source, target in zip(old, new, strict=True):
        target.copy_from(source)
