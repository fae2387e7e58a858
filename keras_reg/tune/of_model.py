"""The hyperparameters of a model."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_reg._keras.computed_weights import regularizers_with_state
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.tune._attachment import attached
from keras_reg.tune.binding import Binding
from keras_reg.tune.hyperparameter import Hyperparameter


def hyperparameters(model: keras.Model) -> dict[str, list[Hyperparameter]]:
    """The hyperparameters in a model: for each name, all objects of that name. In `fit`, those of callbacks too.

    Args:
        model: A model with layers or regularizers that hold some.

    Returns:
        Them, in the order in which the model holds them.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    tuned = keras.Sequential([keras.Input((6,)), keras_reg.layers.TunableDropout(rate), keras.layers.Dense(10)])
    keras_reg.tune.hyperparameters(tuned)  # {"dropout": [rate]}
    ```
    """
    found: dict[str, list[Hyperparameter]] = {}
    # Built layers do not track the regularizers that `apply_regularizer` gives their variables.
    layers = [layer for root in (model, *regularizers_with_state(model)) for layer, _ in iter_sublayers(root)]
    bindings = [binding for layer in (model, *layers) for binding in vars(layer).get(Binding.ATTRIBUTE, ())]
    bound = [handle for binding in bindings for handle in binding.hyperparameters.values()]
    for layer in [*layers, *bound, *attached(model).values()]:
        if isinstance(layer, Hyperparameter) and not any(layer is one for one in found.get(layer.name, ())):
            found.setdefault(layer.name, []).append(layer)
    return found


def set_hyperparameters(model: keras.Model, values: Mapping[str, float]) -> None:
    """Gives hyperparameters of a model values, by their names; effective from the next step on.

    Args:
        model: The model.
        values: A value for each name.

    Raises:
        ValueError: If the model has none of a name, or a value is outside its bounds; then none is changed.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    tuned = keras.Sequential([keras.Input((6,)), keras_reg.layers.TunableDropout(rate), keras.layers.Dense(10)])
    keras_reg.tune.set_hyperparameters(tuned, {"dropout": 0.5})
    ```
    """
    found = hyperparameters(model)
    unknown = sorted(set(values) - set(found))
    if unknown:
        raise ValueError(
            f"The model has no hyperparameters {unknown}, but {sorted(found)}. Received: values={values!r}"
        )
    for name, value in values.items():
        for one in found[name]:
            one.check(value, "value")
    for name, value in values.items():
        for one in found[name]:
            one.set(value)
