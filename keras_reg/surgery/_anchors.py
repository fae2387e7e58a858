"""Regularizers with anchors in models that are built already, and in copies of models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_reg._keras.computed_weights import regularizers_with_state, variables_without_regularizers
from keras_reg._keras.step_inputs import StepInputVariable, track_extra_variables
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.regularizers._anchored import AnchoredRegularizer, Constant, anchored_regularizers
from keras_reg.surgery._select import iter_sublayers

_ATTRIBUTE = "keras_reg_anchors"


def check_plain_kernels(model: keras.Model, regularizers: dict[int, Any]) -> None:
    """Raises a `ValueError` for anchors of a kernel that is computed from the variable.

    Args:
        model: The model.
        regularizers: What variables shall get, by their id.
    """
    for layer, _ in iter_sublayers(model):
        for kernel in layer.kernels if isinstance(layer, ReparameterizedLayer) else ():
            if isinstance(regularizers.get(id(kernel.variable)), AnchoredRegularizer):
                raise ValueError(
                    "Anchors are values of the weight, and here another parameter is trained, of which the weight is "
                    f"computed: `keras_reg.fold` the model first, or leave the layer out. Received: layer={layer!r}"
                )


def reuse(model: keras.Model, variable: keras.Variable, new: Any) -> Any:
    """The regularizer that a variable has already, with the arrays of the new one, if it is of the same kind.

    A layer that was made with it tracks it, and cannot track another one any more.
    """
    old = variable.regularizer
    alone = sum(other.regularizer is old for other in model.weights) == 1
    if not isinstance(new, AnchoredRegularizer) or type(old) is not type(new) or old.shape != new.shape or not alone:
        return new
    old.strength = new.strength
    old.take(new)
    return old


def place(layer: keras.Layer, attribute: str, regularizer: Any) -> None:
    """Makes a regularizer an argument of a built layer, so that its configuration and its files have it."""
    if isinstance(getattr(layer, attribute), keras.Layer) and getattr(layer, attribute) is not regularizer:
        delattr(layer, attribute)  # PyTorch lets nothing else take the place of a module
    if isinstance(regularizer, keras.Layer):
        vars(layer)[attribute] = regularizer  # a built layer refuses new state: the model takes it up
    else:
        setattr(layer, attribute, regularizer)


def track(model: keras.Model) -> None:
    """Lets the model track the anchors of its variables, and hyperparameters, so that a step takes them as inputs.

    JAX compiles arrays that nothing tracks into the step.
    """
    carried: list[StepInputVariable] = []
    for regularizer in regularizers_with_state(model):
        anchored = isinstance(regularizer, AnchoredRegularizer)
        carried += regularizer.constants.values() if anchored else map(StepInputVariable, regularizer.variables)
    if track_extra_variables(model, _ATTRIBUTE, carried) or keras.backend.backend() != "jax":
        return
    if not all(isinstance(one, Constant) for one in carried):
        raise ValueError(
            "A subclassed model cannot take up hyperparameters after it was built, and JAX would compile their present "
            "values into the step: give the regularizer to the layers when they are made. "
            f"Received: model={model!r}"
        )
    warnings.warn(
        "A subclassed model cannot take up anchors after it was built, so that JAX compiles them into the "
        "step: the numbers are right, but the step is large. To avoid it, give the regularizer, with the "
        "`shape` of the variable, to the layers when they are made, and then apply it. "
        f"Received: model={model!r}",
        UserWarning,
        stacklevel=4,
    )


def split(layer: keras.Layer) -> tuple[list[keras.Variable], list[AnchoredRegularizer]]:
    """The variables of a layer without those of its regularizers, and these.

    Two layers of the same configuration have the same variables so, whoever tracks the anchors.
    """
    inside = [layer, *(child for child, _ in iter_sublayers(layer) if not isinstance(child, AnchoredRegularizer))]
    regularizers = [r for part in inside for r in anchored_regularizers(part).values()]
    anchors = {id(constant.state) for r in regularizers for constant in r.constants.values()}
    return [v for v in variables_without_regularizers(layer) if id(v) not in anchors], regularizers


def take(old: Iterable[AnchoredRegularizer], new: Iterable[AnchoredRegularizer]) -> None:
    """Gives the regularizers of a copied layer their anchors."""
    for source, target in zip(old, new, strict=True):
        target.take(source)
