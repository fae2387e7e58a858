"""Penalties and constraints of weights that are computed from a trained variable."""

from __future__ import annotations

import keras

from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._types import Tensor, TensorFunction


class ComputedWeightRegularizer(keras.regularizers.Regularizer):
    """Applies a regularizer to a weight that is computed from the trained variable.

    Args:
        regularizer: Callable. The regularizer of the weight.
        weight: Callable. Computes the weight from the value of the variable.
    """

    def __init__(self, regularizer: TensorFunction, weight: TensorFunction) -> None:
        self.regularizer, self.weight = regularizer, weight

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of the weight."""
        return self.regularizer(self.weight(x))


class FunctionConstraint(keras.constraints.Constraint):
    """Constrains a variable with a function. Before version 3.15, Keras does not accept a plain function.

    Args:
        function: Callable. Maps the value of the variable to its new value.
    """

    def __init__(self, function: TensorFunction) -> None:
        self.function = function

    def __call__(self, w: Tensor) -> Tensor:
        """Returns the value to assign."""
        return self.function(w)


def regularizers_with_state(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns the regularizers of a model's weights that have variables, each once.

    The variables are anchors or hyperparameters.
    """
    regularizers = [
        v.regularizer.regularizer if isinstance(v.regularizer, ComputedWeightRegularizer) else v.regularizer
        for v in model.weights
    ]
    return list({id(r): r for r in regularizers if isinstance(r, keras.layers.Layer)}.values())


def variables_without_regularizers(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables of a layer without those of its regularizers.

    A layer tracks the variables of a regularizer only if it received the regularizer before it was built. Without these
    variables, two layers with equal configurations yield matching lists. The configuration of a regularizer contains
    its values.
    """
    parts = [part for part, _ in iter_sublayers(layer) if isinstance(part, keras.regularizers.Regularizer)]
    excluded = {id(variable) for part in parts for variable in part.variables}
    return [variable for variable in layer.variables if id(variable) not in excluded]
