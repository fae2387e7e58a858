"""Tests of hyperparameters: values, bounds and names, alone and in models."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.layers import TunableDropout, TunableGaussianNoise
from keras_reg.regularizers import TunableL1, TunableL2
from keras_reg.tune import Float, Int, hyperparameters, set_hyperparameters
from keras_reg.tune._override import override_values

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "stn.npz", allow_pickle=False)
BACKEND = keras.backend.backend()


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_hyperparameter_value_is_set_and_read():
    rate = Float("dropout", init=0.2, low=0.0, high=0.9)
    assert rate.value == pytest.approx(0.2)
    rate.set(0.5)
    assert rate.value == 0.5
    assert numpy(rate.read()) == 0.5
    assert rate.get_config() == {"name": "dropout", "init": 0.5, "low": 0.0, "high": 0.9, "log": False}
    assert Float.from_config(rate.get_config()).value == 0.5


@pytest.mark.parametrize("bound", [0.7, 0.1, 1e-3])
def test_hyperparameter_accepts_bounds_rounded_by_float32(bound):
    """Checks bounds that float32 rounds: 0.7 down and 0.1 up."""
    for arguments in ({"low": bound}, {"high": bound}):
        handle = Float("rate", init=bound, **arguments)
        assert handle.value == pytest.approx(bound)
        handle.set(handle.value)
        assert Float.from_config(handle.get_config()).value == handle.value


def test_integer_hyperparameter_matches_golden_floor():
    length = Int("length", init=4, low=0, high=24)
    for free, value in zip(GOLDEN["tf/u"], GOLDEN["tf/stn/floor/0_24"], strict=True):
        length.variable.assign(numpy(length.from_unconstrained(free)))
        assert length.value == value == numpy(length.read())
        assert isinstance(length.value, int)
    with override_values({"length": ops.convert_to_tensor(np.float32([0.2, 7.9, 24.0]))}):
        np.testing.assert_array_equal(numpy(length.read()), [0, 7, 24])


def test_integer_hyperparameter_free_number_is_of_the_middle():
    """Checks that rounding does not change an initial value. In the authors' script, 4 becomes 3."""
    assert float(GOLDEN["tf/stn/default_cutlength_value"]) == 3
    length = Int("length", init=4, low=0, high=24)
    for value in range(24):
        assert np.floor(numpy(length.from_unconstrained(np.float32(length.to_unconstrained(value))))) == value


@pytest.mark.parametrize(
    "arguments",
    [
        {"low": 0.0, "high": 0.9},
        {"low": 0.0},
        {"high": 1.0},
        {},
        {"low": 0.0, "log": True},
        {"low": 1e-6, "high": 1.0, "log": True},
    ],
)
def test_hyperparameter_free_numbers_near_bounds_are_finite(arguments):
    handle = Float("rate", init=0.1, **arguments)
    for value in (arguments.get("low", 1e-2), 0.1, 0.8, arguments.get("high", 0.85)):
        free = handle.to_unconstrained(value)
        assert np.isfinite(free)
        assert float(numpy(handle.from_unconstrained(np.float32(free)))) == pytest.approx(value, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": ""}, "name=''"),
        ({"name": 3}, "name=3"),
        ({"init": 1.5}, "init=1.5"),
        ({"init": -0.1}, "init=-0.1"),
        ({"init": "0.2"}, "init='0.2'"),
        ({"init": True}, "init=True"),
        ({"init": float("nan")}, "init=nan"),
        ({"init": None}, "init=None"),
        ({"low": "0"}, "low='0'"),
        ({"low": False}, "low=False"),
        ({"high": True}, "high=True"),
        ({"high": "0.9"}, "high='0.9'"),
        ({"high": float("inf")}, "high=inf"),
        ({"low": 0.9, "high": 0.9}, "low=0.9, high=0.9"),
        ({"log": 1}, "log=1"),
        ({"log": "no"}, "log='no'"),
        ({"log": True}, "low=0.0"),
        ({"log": True, "low": None, "high": None, "init": -1.0}, "init=-1.0"),
    ],
)
def test_hyperparameter_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=rf"Received: .*{message}"):
        Float(**{"name": "rate", "init": 0.2, "low": 0.0, "high": 0.9, **arguments})


def test_integer_hyperparameter_rejects_fractional_init():
    with pytest.raises(ValueError, match=r"must be an integer. Received: init=2.5"):
        Int("length", init=2.5, low=0, high=24)


def test_hyperparameter_rejects_value_outside_of_bounds():
    rate = Float("dropout", init=0.2, low=0.0, high=0.9)
    for value in (0.95, -1e-6, float("nan"), "0.5", None):
        with pytest.raises(ValueError, match=r"'dropout' must be a number from 0.0 to 0.9. Received: value="):
            rate.set(value)
    assert rate.value == pytest.approx(0.2)


def nested(rate, decay):
    """Returns a nested model with shared and unshared hyperparameters in layers and regularizers."""
    block = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_regularizer=TunableL2(decay))])
    inputs = keras.Input((4,))
    x = TunableDropout(rate)(block(TunableDropout(rate)(inputs)))
    other = TunableGaussianNoise(Float("noise", 0.1, low=0.0))(x)
    return keras.Model(inputs, keras.layers.Dense(2, bias_regularizer=TunableL1(decay))(other))


def test_hyperparameters_returns_each_handle_once():
    rate, decay = Float("dropout", 0.2, 0.0, 0.9), Float("l2", 1e-3, low=0.0)
    handles = hyperparameters(nested(rate, decay))
    assert {name: len(same_name) for name, same_name in handles.items()} == {"dropout": 1, "l2": 1, "noise": 1}
    assert handles["dropout"][0] is rate
    assert handles["l2"][0] is decay


def test_set_hyperparameters_sets_all_of_equal_name():
    first, second = Float("dropout", 0.2, 0.0, 0.9), Float("dropout", 0.3, 0.0, 0.4)
    model = keras.Sequential([keras.Input((4,)), TunableDropout(first), TunableDropout(second)])
    set_hyperparameters(model, {"dropout": 0.35})
    assert first.value == second.value == pytest.approx(0.35)
    with pytest.raises(ValueError, match=r"from 0.0 to 0.4"):
        set_hyperparameters(model, {"dropout": 0.5})
    assert first.value == pytest.approx(0.35), "none is changed"


def test_set_hyperparameters_rejects_unknown_name():
    model = keras.Sequential([keras.Input((4,)), TunableDropout(Float("dropout", 0.2, 0.0, 0.9))])
    with pytest.raises(
        ValueError, match=r"no hyperparameters named \['rate'\]. It has \['dropout'\]. Received: values="
    ):
        set_hyperparameters(model, {"rate": 0.5})
    with pytest.raises(ValueError, match=r"`values` must be a dictionary.*Received: values=0.5"):
        set_hyperparameters(model, 0.5)


class Model(keras.Model):
    def __init__(self, rate, decay):
        super().__init__()
        self.parts = [TunableDropout(rate), keras.layers.Dense(3, kernel_regularizer=TunableL2(decay))]

    def call(self, x, training=False):
        for part in self.parts:
            x = part(x, training=training)
        return x


def test_hyperparameters_finds_handles_of_subclassed_model():
    model = Model(Float("dropout", 0.2, 0.0, 0.9), Float("l2", 1e-3, low=0.0))
    model(np.ones((2, 4), "float32"))
    assert list(hyperparameters(model)) == ["dropout", "l2"]


def test_hyperparameters_are_saved_and_loaded(tmp_path):
    """Checks that a file contains a shared hyperparameter once, and that it has the current value everywhere."""
    rate, decay = Float("dropout", 0.2, 0.0, 0.9), Float("l2", 1e-3, low=0.0)
    model = nested(rate, decay)
    assert sum(variable is rate.variable for variable in model.variables) == 1
    assert not any(weight is rate.variable for weight in model.weights), "users count weights, and set them in order"
    set_hyperparameters(model, {"dropout": 0.6, "l2": 0.25, "noise": 0.5})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    values = {name: {handle.value for handle in handles} for name, handles in hyperparameters(loaded).items()}
    assert values == {"dropout": {rate.value}, "l2": {0.25}, "noise": {0.5}}
    np.testing.assert_allclose(numpy(sum(loaded.losses)), numpy(sum(model.losses)), rtol=1e-6)
    model.save_weights(tmp_path / "model.weights.h5")
    set_hyperparameters(model, {"dropout": 0.1, "l2": 0.0, "noise": 0.0})
    model.load_weights(tmp_path / "model.weights.h5")
    assert (rate.value, decay.value) == (pytest.approx(0.6), 0.25)


class Counting(TunableDropout):
    """Counts how often it is traced."""

    calls = 0

    def call(self, inputs, training=False):
        Counting.calls += bool(training)
        return super().call(inputs, training=training)


class Set(keras.callbacks.Callback):
    """Sets hyperparameters at the start of some steps."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_train_batch_begin(self, batch, logs=None):
        set_hyperparameters(self.model, self.values[batch])


class Losses(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(logs["loss"])


def ones_model(rate, decay, **compile_arguments):
    """Returns a model with constant weights, whose loss without dropout is the decay times 4."""
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=TunableL2(decay))
    model = keras.Sequential([keras.Input((4,)), Counting(rate, seed=1), dense])
    model.compile(keras.optimizers.SGD(0.0), "mse", **compile_arguments)
    return model


def test_set_hyperparameters_takes_effect_without_retracing(compile_modes):
    """Sets values between two fits and between two steps of an epoch."""
    x, y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")
    for mode in compile_modes:
        rate, decay = Float("dropout", 0.0, 0.0, 0.9), Float("l2", 0.5, low=0.0)
        model, Counting.calls = ones_model(rate, decay, **mode), 0
        fit = {"batch_size": 4, "verbose": 0, "shuffle": False}
        assert model.fit(x, y, **fit).history["loss"] == pytest.approx([2.0])
        traced = Counting.calls
        decay.set(0.25)
        assert model.fit(x, y, **fit).history["loss"] == pytest.approx([1.0])
        rate.set(0.5)
        (loss,) = model.fit(x, y, **fit).history["loss"]
        assert loss > 1.5, mode
        # The loss of the epoch is the mean of both steps, whose losses are 0 and 2.
        values = [{"dropout": 0.0, "l2": 0.0}, {"dropout": 0.0, "l2": 0.5}]
        assert model.fit(x, y, callbacks=[Set(values)], **fit).history["loss"] == pytest.approx([1.0]), mode
        assert decay.value == 0.5
        assert rate.value == 0.0
        if not mode.get("run_eagerly") and BACKEND != "torch":
            assert Counting.calls == traced, mode


def test_evaluation_ignores_tunable_noise():
    rate, decay = Float("dropout", 0.5, 0.0, 0.9), Float("l2", 0.0, low=0.0)
    model = ones_model(rate, decay)
    x, y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")
    assert model.evaluate(x, y, verbose=0) == 0
    np.testing.assert_array_equal(numpy(model(x)), y)


@pytest.mark.skipif(BACKEND != "jax", reason="other backends show their variables between steps")
def test_hyperparameter_set_raises_on_jax_if_value_is_lost():
    rate = Float("dropout", 0.5, 0.0, 0.9)
    model = ones_model(rate, Float("l2", 0.0, low=0.0))

    class Lost(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            rate.set(0.1)

    x, y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")
    with pytest.raises(ValueError, match=r"JAX holds the value of 'dropout'.*set_hyperparameters"):
        model.fit(x, y, verbose=0, callbacks=[Lost()])
