"""Binds hyperparameters to stock layers of an existing model."""

from __future__ import annotations

from collections.abc import Mapping

import keras

from keras_reg._keras.step_functions import rebuild_step_functions
from keras_reg._keras.step_inputs import StepInputVariable, track_extra_variables
from keras_reg._types import Config
from keras_reg._validation import reject
from keras_reg.tune._bound_layers import BoundPenalty, make_noisy_call
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._hyperparameter import Hyperparameter
from keras_reg.tune._slots import HyperparameterSlot, find_slots

_TRACKED = "keras_reg_bound"


class Binding:
    """Binds hyperparameters to layers of one model until `unbind` is called. It is a context manager.

    `keras_reg.tune.bind` returns a binding.

    Args:
        model: The model.
        bound: The slots, each with the hyperparameter that it reads.

    Attributes:
        hyperparameters: Dictionary. The hyperparameters, by the name of their slot such as `"dropout_1.rate"`.
    """

    ATTRIBUTE = "keras_reg_bindings"

    def __init__(self, model: keras.Model, bound: list[tuple[HyperparameterSlot, Hyperparameter]]) -> None:
        self.hyperparameters = {slot.name: handle for slot, handle in bound}
        self._model, self._bound = model, bound
        vars(model).setdefault(self.ATTRIBUTE, []).append(self)
        self._track_variables()
        self._update_layers()
        rebuild_step_functions(model)

    def _track_variables(self) -> None:
        bindings = vars(self._model)[self.ATTRIBUTE]
        handles = [handle for binding in bindings for handle in binding.hyperparameters.values()]
        variables = [StepInputVariable(handle.variable) for handle in handles]
        if not track_extra_variables(self._model, _TRACKED, variables):
            if keras.backend.backend() != "jax":
                return
            bindings.remove(self)
            raise ValueError(
                "A subclassed model that is built cannot track new variables, and JAX would compile the current values "
                "into the step. Use `keras_reg.layers.TunableDropout` and `keras_reg.regularizers.TunableL2` in the "
                f"code of the model. Received: model={self._model!r}"
            )

    def _update_layers(self) -> None:
        """Makes the layers of this binding read the hyperparameters of all current bindings."""
        pairs = [pair for binding in vars(self._model)[self.ATTRIBUTE] for pair in binding._bound]
        for layer in {id(slot.layer): slot.layer for slot, _ in self._bound}.values():
            _update_layer(layer, [(slot, handle) for slot, handle in pairs if slot.layer is layer])

    def unbind(self) -> None:
        """Restores the layers, with the current values as constants. The next training step uses them.

        It is a no-op if the binding has ended.
        """
        bindings = vars(self._model)[self.ATTRIBUTE]
        if self not in bindings:
            return
        for slot, handle in self._bound:
            layer, value = slot.layer, handle.value
            if not slot.field:
                setattr(layer, slot.attribute, value)
                continue
            old = getattr(layer, slot.attribute)
            new = type(old)(**{**old.get_config(), slot.field: value})
            setattr(layer, slot.attribute, new)
            for variable in slot.variables:
                variable.regularizer = new
        bindings.remove(self)
        self._update_layers()
        self._track_variables()
        rebuild_step_functions(self._model)

    def __enter__(self) -> Binding:
        return self

    def __exit__(self, *error: object) -> None:
        self.unbind()


def bind(model: keras.Model, hyperparameters: Mapping[str, Hyperparameter]) -> Binding:
    """Binds hyperparameters to numbers of stock layers in a built model.

    These numbers can be bound:

    - the dropout rate of `Dropout`, `SpatialDropout1D`, `SpatialDropout2D`, `SpatialDropout3D` and `GaussianDropout`
    - the standard deviation of `GaussianNoise`
    - the strengths of `L1`, `L2` and `L1L2` regularizers of weights

    The next training step uses the hyperparameters. The model keeps its layers and weights. Its files contain the
    current values as constants and load without this package.

    Args:
        model: A `keras.Model`. It must be built. If models are nested, it is the model that is trained.
        hyperparameters: Dictionary. A `keras_reg.tune.Float` for each name, such as `"dropout_1.rate"`,
            `"noise.stddev"` or `"dense.kernel_regularizer.l2"`. A name begins with the name of the layer or its path,
            as in `"encoder/dropout.rate"`. A pattern such as `"*.rate"` binds all numbers that it matches, which then
            share the value.

    Returns:
        A `keras_reg.tune.Binding`. Its `unbind()`, or the end of a `with` block, restores the layers with the current
        values as constants.

    Raises:
        ValueError: If the model is not built, a name matches no number, or a number is bound twice. It is also raised
            if the bounds of a hyperparameter are invalid for a number.

    Example:

    ```python
    classifier = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dropout(0.5, name="dropout"),
        keras.layers.Dense(10, kernel_regularizer="l2", name="dense"),
    ])
    rate = keras_reg.tune.Float("rate", init=0.2, low=0.0, high=0.9)
    decay = keras_reg.tune.Float("decay", init=1e-3, low=0.0, log=True)
    binding = keras_reg.tune.bind(
        classifier,
        {"dropout.rate": rate, "dense.kernel_regularizer.l2": decay},
    )
    rate.set(0.3)
    binding.unbind()
    classifier.get_layer("dropout").rate  # 0.3
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        reject("model", model, "must be a built `keras.Model`")
    if not isinstance(hyperparameters, Mapping) or not hyperparameters:
        reject("hyperparameters", hyperparameters, 'must be a dictionary such as {"dropout.rate": tune.Float(...)}')
    used = {slot.key for binding in vars(model).get(Binding.ATTRIBUTE, []) for slot, _ in binding._bound}
    slots, bound = find_slots(model), []
    for pattern, value in hyperparameters.items():
        matching = [slot for slot in slots if slot.matches(pattern)]
        if not matching:
            raise ValueError(
                f"No stock layer has a number {pattern!r}. The model has {[slot.name for slot in slots]}. "
                f"Received: hyperparameters={dict(hyperparameters)!r}"
            )
        for slot in matching:
            # Keras accepts standard deviations of at most 1.
            limits = {} if slot.field else {"below": 1.0} if slot.attribute == "rate" else {"at_most": 1.0}
            handle = check_hyperparameter(pattern, value, 0.0, **limits)
            if slot.key in used:
                raise ValueError(
                    f"{slot.name!r} is already bound, or two names match it. Unbind it first. Received: {pattern!r}"
                )
            if not slot.field and not hasattr(slot.layer, "seed_generator"):
                raise ValueError(
                    f"{slot.path!r} was created with a {slot.attribute} of 0 and has no random state. Create it with "
                    f"a {slot.attribute} above 0. Received: {pattern!r}"
                )
            used.add(slot.key)
            bound.append((slot, handle))
    return Binding(model, bound)


def _update_layer(layer: keras.Layer, bound: list[tuple[HyperparameterSlot, Hyperparameter]]) -> None:
    """Makes a layer read its bound hyperparameters, or restores its methods if there are none."""
    # The methods are replaced on the instance. `vars` is needed because Keras rejects changes to a built layer.
    for name in ("get_config", "call"):
        vars(layer).pop(name, None)
    if not bound:
        return
    original = layer.get_config

    def get_config() -> Config:
        config: Config = original()
        for slot, handle in bound:
            if slot.field:
                config[slot.attribute]["config"][slot.field] = handle.value
            else:
                config[slot.attribute] = handle.value
        return config

    vars(layer)["get_config"] = get_config
    for slot, handle in bound:
        if not slot.field:
            vars(layer)["call"] = make_noisy_call(layer, handle)
        for variable in slot.variables:
            fields = {other.field: value for other, value in bound if other.attribute == slot.attribute}
            variable.regularizer = BoundPenalty(getattr(layer, slot.attribute), fields)
