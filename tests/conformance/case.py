"""Describes a public class for the suite, and trains it. Layers, regularizers and callbacks share this code."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reg import apply_regularizer, fold
from keras_reg.data import with_sample_ids
from keras_reg.layers import WeightCompander

FEATURES, HIDDEN, CLASSES, SAMPLES, BATCH = 4, 6, 3, 24, 8


@dataclasses.dataclass(frozen=True)
class Mistake:
    """Describes a `fit` that must raise a clear `ValueError`.

    Attributes:
        what: A description of the mistake.
        change: Function that adds the mistake to a correct `Trial`.
        says: The text that the message must contain, in addition to "Received".
        arguments: Constructor arguments that differ from those of the case.
        after_a_step: Whether the mistake shows only after a step, so the weights may have changed.
    """

    what: str
    change: Callable[[Trial], None]
    says: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    after_a_step: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """Describes one public class.

    Attributes:
        cls: The class.
        kind: Its kind in the registry, which determines its place in a model (see `Trial`).
        mechanism: How it takes part in training: a key of `mechanisms.MECHANISMS`.
        arguments: Constructor arguments for training on `problem()`. A function is replaced by its result for each
            instance, because layers and optimizers cannot be shared.
        configurations: Constructor arguments. Every argument differs from its default in at least one of them.
        before: Makes the layer before a layer that cannot take the outputs of a dense layer.
        after: Makes the layer after a layer whose outputs a dense layer cannot take.
        variant: The name of the case, if a class has several cases.
        other_arguments: Some arguments that change what is trained, for a second `fit`.
        half_precision: Arguments that are hard for 16-bit floats.
        state: Returns the state of an instance as named arrays. `None` if there is no state.
        between_traces: The allowed difference between two equal runs. It is 0 (bit for bit), unless TensorFlow's
            Grappler adds many gradients in a different order each time it traces.
        terms: The keys that it adds to the training logs.
        golden: Tests of its value and of its gradient against golden numbers, as `file::test`.
        simulate: An independent simulation of a training run in NumPy, see `rules/numbers.py`.
        reference: Numbers that every backend must produce, see `rules/numbers.py`.
        layer: Makes a layer that the model of a callback needs. The model without the callback has it too.
        wrong_arguments: Constructor arguments that raise a `ValueError` whose message shows the offending value.
        no_effect: Situations that cause a `NoEffectWarning`.
        mistakes: Situations in which `fit` raises a `ValueError`.
        sees_inputs: Whether it is a layer that is called with the model's inputs and the features in a list.
        not_applicable: Rules (by function name) that do not apply to this class, with the reason.
        known_failures: Rules that this class breaks, with the reason. These rules must fail.
    """

    cls: type
    kind: str
    arguments: dict[str, Any]
    configurations: tuple[dict[str, Any], ...]
    before: Callable[[], keras.Layer] | None = None
    after: Callable[[], keras.Layer] | None = None
    mechanism: str = ""
    variant: str = ""
    other_arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    half_precision: dict[str, Any] = dataclasses.field(default_factory=dict)
    state: Callable[[Any], dict[str, np.ndarray]] | None = None
    between_traces: float = 0.0
    terms: tuple[str, ...] = ()
    golden: tuple[str, ...] = ()
    simulate: Callable[..., Any] | None = None
    reference: dict[str, float] = dataclasses.field(default_factory=dict)
    layer: Callable[[], Any] | None = None
    wrong_arguments: tuple[dict[str, Any], ...] = ()
    no_effect: tuple[Mistake, ...] = ()
    mistakes: tuple[Mistake, ...] = ()
    sees_inputs: bool = False
    not_applicable: dict[str, str] = dataclasses.field(default_factory=dict)
    known_failures: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return "-".join(filter(None, [self.cls.__name__, self.variant]))

    @property
    def wraps(self) -> bool:
        """Returns True for a layer that wraps another one. It replaces the first dense layer."""
        return self.kind == "layer" and "layer" in self.arguments

    def make(self, **arguments: Any) -> Any:
        return construct(self.cls, made({**self.arguments, **arguments}))

    def state_of(self, method: Any) -> dict[str, np.ndarray]:
        return {} if self.state is None else {key: np.array(value) for key, value in self.state(method).items()}


#: No constructor arguments in addition to those of the case.
NO_CHANGES: dict[str, Any] = {}


def made(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value() if inspect.isfunction(value) else value for name, value in arguments.items()}


def construct(cls: type, arguments: dict[str, Any]) -> Any:
    """Creates an instance, and passes the arguments of a parameter such as `*regularizers` by position."""
    parameters = inspect.signature(cls).parameters.values()
    several = [parameter.name for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL]
    positional = [value for name in several for value in arguments.get(name, ())]
    return cls(*positional, **{name: value for name, value in arguments.items() if name not in several})


def problem(samples: int = SAMPLES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(samples, FEATURES)).astype("float32")
    return x, rng.integers(0, CLASSES, samples).astype("int32")


class Trial:
    """Holds a small compiled model with a method in its place, and the data to train it on.

    `Trial(case, None)` is the same model without the method. The architectures are `"linear"`, `"mlp"`, `"norm"` (an
    MLP with batch normalization) and `"dropout"` (`"norm"` with dropout). The model of an optimizer has a companded
    layer.

    Args:
        arguments: Constructor arguments that differ from those of the case. `None` means no method.

    Attributes:
        model, method, x, y: These attributes may be changed before `fit`.
    """

    def __init__(
        self,
        case: Case,
        arguments: dict[str, Any] | None = NO_CHANGES,
        architecture: str = "mlp",
        optimizer: str = "momentum",
        samples: int = SAMPLES,
        seed: int = 1,
        prebuilt: bool = keras.backend.backend() == "tensorflow",
        **compile_arguments: Any,
    ) -> None:
        keras.utils.set_random_seed(seed)
        self.prebuilt = prebuilt
        self.rng = np.random.default_rng(seed)  # The weights are the same on every backend.
        self.case, self.method = case, None
        if arguments is not None and not case.wraps:
            self.method = case.make(**arguments)
        self.arguments = arguments
        self.architecture, self.optimizer, self.compile_arguments = architecture, optimizer, compile_arguments
        self.model = self._model()
        self._set_weights()
        if hasattr(self._at("regularizer"), "for_variable"):
            self._apply()
        self.compile()
        features, self.y = problem(samples)
        self.x = with_sample_ids(self.model, features)

    def _at(self, kind: str) -> Any:
        return self.method if self.case.kind == kind else None

    def _model(self) -> keras.Model:
        layers = self._layers()
        if not self.case.sees_inputs:
            return keras.Sequential(layers)
        inputs = outputs = layers[0]
        for layer in layers[1:]:
            outputs = layer([inputs, outputs] if layer is self.method else outputs)
        return keras.Model(inputs, outputs)

    def _layers(self) -> list[Any]:
        layers = [keras.Input((FEATURES,), name="features")]
        regularized = {"kernel_regularizer": self._at("regularizer"), "kernel_constraint": self._at("constraint")}
        if self.architecture != "linear":
            layers += [self._dense(HIDDEN, activation="tanh", **regularized)]
        if self.architecture in ("norm", "dropout"):  # Adds variables that are not trained.
            layers += [keras.layers.BatchNormalization()]
        if self.architecture == "dropout":
            # Not all rules use dropout: Keras does not save the state of its seeds, and XLA on TensorFlow draws other
            # numbers.
            layers += [keras.layers.Dropout(0.2, seed=3)]
        if self._at("layer") is not None and not self.case.wraps:
            around = [layer and layer() for layer in (self.case.before, self.case.after)]
            layers += [layer for layer in (around[0], self.method, around[1]) if layer is not None]
        if self.case.layer is not None:
            layers += [self.case.layer()]
        if self.architecture == "linear":
            return [*layers, self._dense(CLASSES, **regularized)]
        return [*layers, keras.layers.Dense(CLASSES)]

    def _dense(self, units: int, **arguments: Any) -> keras.layers.Layer:
        """Returns the first dense layer, wrapped if the method is a wrapper."""
        if not (self.case.wraps and self.arguments is not None) and self.case.kind != "optimizer":
            return keras.layers.Dense(units, **arguments)
        # A wrapper computes its parameters from the initial weights when it is built. They cannot be assigned
        # afterwards.
        initial = {
            "kernel_initializer": keras.initializers.Constant(self._draw((FEATURES, units))),
            "bias_initializer": keras.initializers.Constant(self._draw((units,))),
        }
        dense = keras.layers.Dense(units, **initial, **arguments)
        if self.case.kind == "optimizer":
            return WeightCompander(dense, a=1.3)
        self.method = self.case.make(**{**self.arguments, "layer": dense})
        return self.method

    def _draw(self, shape: Any) -> np.ndarray:
        return self.rng.normal(size=shape, scale=0.5).astype("float32")

    def _set_weights(self) -> None:
        for layer in self.model.layers:
            if not hasattr(layer, "layer"):
                for variable in layer.trainable_variables:
                    variable.assign(self._draw(variable.shape))

    def _apply(self) -> None:
        """Applies a regularizer that depends on the variable to the current weights, as users do."""
        dense = next(layer for layer in self.model.layers if layer.kernel_regularizer is self.method)
        if hasattr(self.method, "fisher"):  # The case does not know the path of the kernel.
            share = np.linspace(0.0, 2.0, np.prod(dense.kernel.shape)).reshape(dense.kernel.shape)
            self.method.fisher = {dense.kernel.path: share}
        apply_regularizer(self.model, self.method, include=lambda layer: layer is dense)
        self.method = dense.kernel.regularizer

    def compile(self, **changes: Any) -> None:
        optimizers = {
            "sgd": lambda: keras.optimizers.SGD(0.3),
            # SGD with momentum has slot variables, and TensorFlow traces it in a third of the time that Adam takes.
            "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.5),
            "adam": lambda: keras.optimizers.Adam(0.01),
        }
        arguments = {
            "optimizer": self._at("optimizer") or optimizers[self.optimizer](),
            "loss": self._at("loss") or keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "metrics": ["accuracy"] + [self.method] * (self._at("metric") is not None),
        }
        self.model.compile(**{**arguments, **self.compile_arguments, **changes})
        if self.prebuilt:
            self._prebuild()

    def _prebuild(self) -> None:
        """Creates the variables of the optimizer and of metrics. Otherwise, TensorFlow traces the first step twice.

        This halves the time of a `fit`. The rules about numbers train without it, as users do.
        """
        self.model.optimizer.build(self.model.trainable_variables)
        features, labels = problem(2)
        outputs = self.model(features)
        self.model.compute_loss(features, labels, outputs)
        self.model.compute_metrics(features, labels, outputs)
        self.model.reset_metrics()

    def fit(self, epochs: int = 2, callbacks: Any = (), after: Any = (), **arguments: Any) -> keras.callbacks.History:
        """Trains the model. In the list, `callbacks` come before the method, and `after` come after it."""
        method = [self.method] * (self._at("callback") is not None)
        arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **arguments}
        return self.model.fit(self.x, self.y, epochs=epochs, callbacks=[*callbacks, *method, *after], **arguments)

    def weights(self) -> dict[str, np.ndarray]:
        """Returns every variable of the model and its optimizer."""
        variables = enumerate(self.variables())
        return {f"{index} {v.path}": keras.ops.convert_to_numpy(v).copy() for index, v in variables}

    def variables(self) -> list[keras.Variable]:
        """Returns the variables, weights first, because a loaded model tracks other variables in a different order."""
        weights = {id(variable) for variable in self.model.weights}
        others = [variable for variable in self.model.variables if id(variable) not in weights]
        return [*self.model.weights, *others, *self.model.optimizer.variables]

    def state(self) -> dict[str, np.ndarray]:
        return self.case.state_of(self.method)

    def plain_model(self) -> keras.Model:
        """Returns a model without the method that makes the same predictions."""
        if hasattr(self.method, "fold"):
            return fold(self.model)
        own = self.method.weights if self.case.kind == "layer" else []
        plain = Trial(self.case, None, self.architecture).model
        plain.set_weights([w.numpy() for w in self.model.weights if all(w is not mine for mine in own)])
        return plain

    def load(self, file: Any) -> None:
        """Continues with a saved model, and with the method that it contains."""
        place = self.model.layers.index(self.method) if self.case.kind == "layer" else None
        if hasattr(self._at("regularizer"), "for_variable"):
            place = next(i for i, layer in enumerate(self.model.layers) if layer.kernel_regularizer is self.method)
            self.model = keras.saving.load_model(file)
            self.method = self.model.layers[place].kernel_regularizer
            return
        self.model = keras.saving.load_model(file)
        if place is not None:
            self.method = self.model.layers[place]
        if self.case.kind == "optimizer":
            self.method = self.model.optimizer

    def take_weights_of(self, other: Trial) -> None:
        for trial in (self, other):
            if not trial.model.optimizer.built:
                trial.model.optimizer.build(trial.model.trainable_variables)
        for variable, value in zip(self.variables(), other.weights().values(), strict=True):
            variable.assign(value)


def recorded(case: Case, what: str, run: Callable[[], Any]) -> Any:
    """Returns the cached result of `run` for a case. The rules only read it.

    The run may depend only on the case, and not on a policy or a strategy of the rule.
    """
    key = id(case), what  # All cases stay alive for the whole session, so ids are unique.
    if key not in _RECORDED:
        _RECORDED[key] = case, run()
    return _RECORDED[key][1]


_RECORDED: dict[tuple[int, str], tuple[Case, Any]] = {}


class At(keras.callbacks.Callback):
    """Calls functions from the hooks of a training run: `At(on_epoch_end=lambda self, epoch, logs: ...)`."""

    def __init__(self, **hooks: Callable[..., None]) -> None:
        super().__init__()
        for name, function in hooks.items():
            setattr(self, name, lambda *arguments, f=function, **keywords: f(self, *arguments, *keywords.values()))


class Interrupt(Exception):  # noqa: N818  (it is not an error)
    """Stops a training run in the middle."""


def interrupt(hook: str, at: int, error: type[BaseException] = Interrupt) -> At:
    """Returns a callback that raises when a hook is called with the index `at`."""

    def raise_there(self: At, index: int, logs: Any = None) -> None:
        if index == at:
            raise error("interrupted here")

    return At(**{hook: raise_there})


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], what: str, tolerance: float = 0) -> None:
    """Compares named arrays bit for bit, or with a relative and absolute tolerance."""
    values = list(got.values()), list(expected.values())
    assert len(values[0]) == len(values[1]), f"{what}: {list(got)} is not {list(expected)}"
    for name, mine, theirs in zip(got, *values, strict=True):
        message = f"{what}: {name}"
        if tolerance:
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance, err_msg=message)
        else:
            np.testing.assert_array_equal(mine, theirs, err_msg=message)


def differ(first: dict[str, np.ndarray], second: dict[str, np.ndarray], by: float = 1e-4) -> bool:
    pairs = zip(first.values(), second.values(), strict=True)
    return any(np.abs(a.astype("float64") - b.astype("float64")).max(initial=0) > by for a, b in pairs)
