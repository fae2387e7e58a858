"""Penalties and constraints of weights that are computed from the variable that is trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_reg._keras.sublayers import iter_sublayers


class ComputedWeightRegularizer(keras.regularizers.Regularizer):
    """A regularizer of a weight, as one of the variable from which the weight is computed.

    Args:
        regularizer: The regularizer as it was given.
        weight: The weight, of the variable's value.
    """

    def __init__(self, regularizer: Callable[[Any], Any], weight: Callable[[Any], Any]) -> None:
        self.regularizer, self.weight = regularizer, weight

    def __call__(self, x: Any) -> Any:
        """The penalty of the weight."""
        return self.regularizer(self.weight(x))


class FunctionConstraint(keras.constraints.Constraint):
    """Constrains a variable by a function. Keras takes a function as it is from 3.15 on only.

    Args:
        function: Returns the value that the variable gets in place of the one it is called with.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, w: Any) -> Any:
        """The value to assign."""
        return self.function(w)


def regularizers_with_state(model: keras.Model) -> list[keras.layers.Layer]:
    """The regularizers of a model's weights that hold variables, each once: those with anchors or hyperparameters."""
    given = [
        v.regularizer.regularizer if isinstance(v.regularizer, ComputedWeightRegularizer) else v.regularizer
        for v in model.weights
    ]
    return list({id(r): r for r in given if isinstance(r, keras.layers.Layer)}.values())


def variables_without_regularizers(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of a layer without those of its regularizers, which a built layer has where it does not track them.

    Two layers of the same configuration have the same ones so. What a regularizer holds is in its configuration.
    """
    parts = [part for part, _ in iter_sublayers(layer) if isinstance(part, keras.regularizers.Regularizer)]
    held = {id(variable) for part in parts for variable in part.variables}
    return [variable for variable in layer.variables if id(variable) not in held]
