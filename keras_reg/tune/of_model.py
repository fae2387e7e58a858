"""The hyperparameters of a model."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_reg._keras.computed_weights import regularizers_with_state
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._validation import reject
from keras_reg.tune._attachment import attached
from keras_reg.tune._hyperparameter import Hyperparameter
from keras_reg.tune.binding import Binding


def hyperparameters(model: keras.Model) -> dict[str, list[Hyperparameter]]:
    """Returns the hyperparameters of a model by name.

    Hyperparameters may be in layers, in regularizers and in bindings of `keras_reg.tune.bind`. While `fit` runs, those
    of callbacks are included.

    Args:
        model: A `keras.Model`.

    Returns:
        A dictionary of lists, since several hyperparameters may have the same name. The names are in the order in
        which the model contains them.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    tuned = keras.Sequential([
        keras.Input((6,)),
        keras_reg.layers.TunableDropout(rate),
        keras.layers.Dense(10),
    ])
    keras_reg.tune.hyperparameters(tuned)  # {"dropout": [rate]}
    ```
    """
    handles: dict[str, list[Hyperparameter]] = {}
    # Built layers do not track the regularizers that `apply_regularizer` gives their variables.
    layers = [layer for root in (model, *regularizers_with_state(model)) for layer, _ in iter_sublayers(root)]
    bindings = [binding for layer in (model, *layers) for binding in vars(layer).get(Binding.ATTRIBUTE, ())]
    bound = [handle for binding in bindings for handle in binding.hyperparameters.values()]
    for layer in [*layers, *bound, *attached(model).values()]:
        if isinstance(layer, Hyperparameter) and not any(layer is handle for handle in handles.get(layer.name, ())):
            handles.setdefault(layer.name, []).append(layer)
    return handles


def set_hyperparameters(model: keras.Model, values: Mapping[str, float]) -> None:
    """Sets hyperparameters of a model by name. The new values apply from the next training step on.

    Args:
        model: A `keras.Model` with hyperparameters.
        values: Dictionary. A value for each name.

    Raises:
        ValueError: If the model has no hyperparameter of a name, or a value is out of bounds. No hyperparameter is
            changed then.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    tuned = keras.Sequential([
        keras.Input((6,)),
        keras_reg.layers.TunableDropout(rate),
        keras.layers.Dense(10),
    ])
    keras_reg.tune.set_hyperparameters(tuned, {"dropout": 0.5})
    ```
    """
    if not isinstance(values, Mapping):
        reject("values", values, "must be a dictionary of a value for each name")
    handles = hyperparameters(model)
    unknown = sorted(set(values) - set(handles))
    if unknown:
        raise ValueError(
            f"The model has no hyperparameters named {unknown}. It has {sorted(handles)}. Received: values={values!r}"
        )
    for name, value in values.items():
        for handle in handles[name]:
            handle.check(value, "value")
    for name, value in values.items():
        for handle in handles[name]:
            handle.set(value)
