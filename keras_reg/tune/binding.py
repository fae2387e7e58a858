"""Hyperparameters in the stock layers of a model that exists already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_reg._keras.step_functions import rebuild_step_functions
from keras_reg._keras.step_inputs import StepInputVariable, track_extra_variables
from keras_reg.ops._numerics import absolute, at_least_float32
from keras_reg.ops.noise import drop_inputs, noise_sizes, normal_noise
from keras_reg.random._uniform import open_uniform
from keras_reg.tune._checks import check_hyperparameter
from keras_reg.tune._slots import HyperparameterSlot, find_slots
from keras_reg.tune.hyperparameter import Hyperparameter

_CARRIED = "keras_reg_bound"
_SPATIAL = (keras.layers.SpatialDropout1D, keras.layers.SpatialDropout2D, keras.layers.SpatialDropout3D)


class Binding:
    """What `tune.bind` returns: hyperparameters in the layers of one model, until `unbind`; a context manager.

    Args:
        model: The model.
        bound: The places, each with what it reads.

    Attributes:
        hyperparameters: By the name of the place, such as `"dropout_1.rate"`.
    """

    ATTRIBUTE = "keras_reg_bindings"

    def __init__(self, model: keras.Model, bound: list[tuple[HyperparameterSlot, Hyperparameter]]) -> None:
        self.hyperparameters = {place.name: handle for place, handle in bound}
        self._model, self._bound = model, bound
        vars(model).setdefault(self.ATTRIBUTE, []).append(self)
        self._carry()
        self._take_layers()
        rebuild_step_functions(model)

    def _carry(self) -> None:
        bindings = vars(self._model)[self.ATTRIBUTE]
        handles = [handle for binding in bindings for handle in binding.hyperparameters.values()]
        if not track_extra_variables(self._model, _CARRIED, [StepInputVariable(handle.variable) for handle in handles]):
            if keras.backend.backend() != "jax":
                return
            bindings.remove(self)
            raise ValueError(
                "A subclassed model that is built takes up nothing new, and JAX would compile the present values into "
                "the step: use `keras_reg.layers.TunableDropout` and `keras_reg.regularizers.TunableL2` in its code. "
                f"Received: model={self._model!r}"
            )

    def _take_layers(self) -> None:
        """Lets its layers read what is bound in them now, by whichever binding."""
        pairs = [pair for binding in vars(self._model)[self.ATTRIBUTE] for pair in binding._bound]
        for layer in {id(place.layer): place.layer for place, _ in self._bound}.values():
            _take_layer(layer, [(place, handle) for place, handle in pairs if place.layer is layer])

    def unbind(self) -> None:
        """Gives the layers back, with the present values as their constants; effective at once."""
        bindings = vars(self._model)[self.ATTRIBUTE]
        if self not in bindings:
            return
        for place, handle in self._bound:
            layer, value = place.layer, handle.value
            if not place.field:
                setattr(layer, place.attribute, value)
                continue
            old = getattr(layer, place.attribute)
            new = type(old)(**{**old.get_config(), place.field: value})
            setattr(layer, place.attribute, new)
            for variable in place.variables:
                variable.regularizer = new
        bindings.remove(self)
        self._take_layers()
        self._carry()
        rebuild_step_functions(self._model)

    def __enter__(self) -> Binding:
        return self

    def __exit__(self, *error: object) -> None:
        self.unbind()


def bind(model: keras.Model, hyperparameters: Mapping[str, Hyperparameter]) -> Binding:
    """Puts hyperparameters into the stock layers of a model that is built, in their place; effective at once.

    The dropout rate of `Dropout`, `SpatialDropout1D` to `3D` and `GaussianDropout`, the deviation of `GaussianNoise`,
    and the strengths of `L1`, `L2` and `L1L2` of weights. The model stays what it is: its layers and weights are the
    same, and its files have the present values as constants and load without this package.

    Args:
        model: A built model; the one that is trained, where models are nested.
        hyperparameters: A `tune.Float` for the name of each place: `"dropout_1.rate"`, `"noise.stddev"` or
            `"dense.kernel_regularizer.l2"`, with the name of the layer or its path as in `"encoder/dropout.rate"`. A
            pattern such as `"*.rate"` means all places that it matches, which share the value.

    Returns:
        A `tune.Binding`, which gives the layers back with `unbind()`, or at the end of a `with` block; then they have
        the present values as constants.

    Raises:
        ValueError: If the model is not built, a name is that of no place, one place is named twice or is bound already,
            or the bounds do not fit.

    Example:

    ```python
    classifier = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dropout(0.5, name="dropout"),
        keras.layers.Dense(10, kernel_regularizer="l2", name="dense"),
    ])
    rate = keras_reg.tune.Float("rate", init=0.2, low=0.0, high=0.9)
    decay = keras_reg.tune.Float("decay", init=1e-3, low=0.0, log=True)
    binding = keras_reg.tune.bind(classifier, {"dropout.rate": rate, "dense.kernel_regularizer.l2": decay})
    rate.set(0.3)
    binding.unbind()
    classifier.get_layer("dropout").rate  # 0.3
    ```
    """
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(f"`model` must be a built `keras.Model`. Received: model={model!r}")
    if not isinstance(hyperparameters, Mapping) or not hyperparameters:
        raise ValueError(
            '`hyperparameters` must be a dictionary such as {"dropout.rate": tune.Float(...)}. '
            f"Received: hyperparameters={hyperparameters!r}"
        )
    taken = {place.key for binding in vars(model).get(Binding.ATTRIBUTE, []) for place, _ in binding._bound}
    there, bound = find_slots(model), []
    for pattern, value in hyperparameters.items():
        meant = [place for place in there if place.matches(pattern)]
        if not meant:
            raise ValueError(
                f"No stock layer has a number {pattern!r}. There are {[place.name for place in there]}. "
                f"Received: hyperparameters={dict(hyperparameters)!r}"
            )
        for place in meant:
            # Keras takes a deviation of 1, and no more.
            limits = {} if place.field else {"below": 1.0} if place.attribute == "rate" else {"most": 1.0}
            handle = check_hyperparameter(pattern, value, 0.0, **limits)
            if place.key in taken:
                raise ValueError(
                    f"{place.name!r} is bound already, or named twice: unbind it first. Received: {pattern!r}"
                )
            if not place.field and not hasattr(place.layer, "seed_generator"):
                raise ValueError(
                    f"{place.path!r} was made with a {place.attribute} of 0, and has no random state: make it with one "
                    f"above 0. Received: {pattern!r}"
                )
            taken.add(place.key)
            bound.append((place, handle))
    return Binding(model, bound)


def _take_layer(layer: keras.Layer, own: list[tuple[HyperparameterSlot, Hyperparameter]]) -> None:
    # Of the instance alone, and past Keras, which refuses changes of a built layer.
    for name in ("get_config", "call"):
        vars(layer).pop(name, None)
    if not own:
        return
    original = layer.get_config

    def get_config() -> dict[str, Any]:
        config: dict[str, Any] = original()
        for place, handle in own:
            if place.field:
                config[place.attribute]["config"][place.field] = handle.value
            else:
                config[place.attribute] = handle.value
        return config

    vars(layer)["get_config"] = get_config
    for place, handle in own:
        if not place.field:
            vars(layer)["call"] = _noisy_call(layer, handle)
        for variable in place.variables:
            fields = {other.field: its for other, its in own if other.attribute == place.attribute}
            variable.regularizer = _Penalty(getattr(layer, place.attribute), fields)


class _Penalty(keras.regularizers.Regularizer):
    """The penalty of a stock regularizer, some of whose strengths are read from hyperparameters."""

    def __init__(self, regularizer: Any, handles: Mapping[str, Hyperparameter]) -> None:
        self._constants = {name: value for name, value in regularizer.get_config().items() if name not in handles}
        self._handles = dict(handles)

    def __call__(self, x: Any) -> Any:
        x = at_least_float32(x)
        strengths = {name: ops.cast(ops.mean(handle.read()), x.dtype) for name, handle in self._handles.items()}
        strengths |= {name: value for name, value in self._constants.items() if value}
        penalties = {"l1": lambda: ops.sum(absolute(x)), "l2": lambda: ops.sum(ops.square(x))}
        return sum(strength * penalties[name]() for name, strength in strengths.items())


def _noisy_call(layer: keras.Layer, handle: Hyperparameter) -> Any:
    """What a noise layer calls, as before but for its strength."""

    def call(inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        shape = getattr(layer, "noise_shape", None)
        if isinstance(layer, _SPATIAL):
            first = getattr(layer, "data_format", None) == "channels_first"
            channels = 1 if first else len(inputs.shape) - 1
            shape = tuple(None if axis in (0, channels) else 1 for axis in range(len(inputs.shape)))
        uniform = open_uniform(noise_sizes(shape, inputs), layer.seed_generator)
        if isinstance(layer, keras.layers.Dropout):
            return drop_inputs(inputs, handle.read(), uniform)
        if isinstance(layer, keras.layers.GaussianNoise):
            return inputs + normal_noise(handle.read(), uniform, inputs)
        rate = ops.cast(handle.read(), "float32")
        return inputs * (1 + normal_noise(ops.sqrt(rate / (1 - rate)), uniform, inputs))

    return call
