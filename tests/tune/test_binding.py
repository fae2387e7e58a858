"""Tests of hyperparameters that are bound to stock layers of existing models."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.tune import Float, bind, hyperparameters, set_hyperparameters
from keras_reg.tune._override import override_values
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.tune.test_hyperparameter import Losses

L = keras.layers
BACKEND = keras.backend.backend()
X, Y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")
FIT = {"batch_size": 4, "verbose": 0, "shuffle": False}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def rate_of(value=0.2, name="rate"):
    return Float(name, value, low=0.0, high=0.9)


def decay_of(value=0.5, name="decay"):
    return Float(name, value, low=0.0)


def stock(**compile_arguments) -> keras.Model:
    """Returns a model with constant weights, whose loss without dropout is 4 times its decay."""
    dense = L.Dense(
        1, use_bias=False, kernel_initializer="ones", kernel_regularizer=keras.regularizers.L2(2.0), name="dense"
    )
    model = keras.Sequential([keras.Input((4,)), L.Dropout(0.5, seed=1, name="dropout"), dense])
    model.compile(keras.optimizers.SGD(0.0), "mse", **compile_arguments)
    return model


@NOT_ON_JAX
def test_bound_hyperparameters_take_effect_before_and_after_fit(compile_modes):
    for mode in compile_modes:
        model = stock(**mode)
        assert model.fit(X, Y, **FIT).history["loss"][0] > 8.5
        rate, decay = rate_of(0.0), decay_of(0.5)
        binding = bind(model, {"dropout.rate": rate, "dense.kernel_regularizer.l2": decay})
        assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([2.0]), mode
        decay.set(0.25)
        assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([1.0]), mode
        assert model.evaluate(X, Y, verbose=0) == pytest.approx(1.0)
        set_hyperparameters(model, {"rate": 0.5})
        assert model.fit(X, Y, **FIT).history["loss"][0] > 1.5, mode
        rate.set(0.0)
        binding.unbind()
        assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([1.0]), mode
        decay.set(0.5)
        rate.set(0.5)
        assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([1.0]), "they are constants now"
        assert model.layers[0].get_config()["rate"] == 0.0
        assert (model.layers[0].rate, model.layers[1].kernel_regularizer.l2) == (0.0, 0.25)


@NOT_ON_JAX
def test_second_binding_of_hyperparameter_takes_effect_immediately():
    """Binds a hyperparameter that the model already tracks, so that no new input makes JAX retrace the step."""
    penalties = keras.regularizers.L2(0.0), keras.regularizers.L2(2.0)
    layers = [
        L.Dense(4, use_bias=False, kernel_initializer="identity", kernel_regularizer=penalties[0], name="one"),
        L.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=penalties[1], name="two"),
    ]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    decay = decay_of(0.5)
    bind(model, {"two.kernel_regularizer.l2": decay})
    assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([2.0])
    second = bind(model, {"one.kernel_regularizer.l2": decay})
    assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([4.0])
    second.unbind()
    decay.set(0.25)
    assert model.fit(X, Y, **FIT).history["loss"] == pytest.approx([3.0]), "one is a constant now"


def test_bound_hyperparameters_change_without_retracing():
    model = stock()
    bind(model, {"dropout.rate": rate_of(0.0), "*.l2": decay_of()})
    steps = Losses()

    class Move(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            set_hyperparameters(self.model, {"decay": float(batch)})

    model.fit(X, Y, **FIT)
    function = model.train_function
    model.fit(X, Y, callbacks=[Move(), steps], **FIT)
    assert steps.steps == pytest.approx([0.0, 2.0]), "the mean of 0 and 4"
    assert model.train_function is function


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("layer", "shape", "same"),
    [
        (lambda: L.Dropout(0.5, seed=1), (40, 6, 5), ()),
        (lambda: L.Dropout(0.5, noise_shape=(None, 1, 5), seed=1), (40, 6, 5), (1,)),
        (lambda: L.SpatialDropout1D(0.5, seed=1), (40, 6, 5), (1,)),
        (lambda: L.SpatialDropout2D(0.5, seed=1, data_format="channels_last"), (40, 3, 3, 5), (1, 2)),
        (lambda: L.SpatialDropout2D(0.5, seed=1, data_format="channels_first"), (40, 5, 3, 3), (2, 3)),
        (lambda: L.SpatialDropout3D(0.5, seed=1, data_format="channels_last"), (40, 2, 2, 2, 5), (1, 2, 3)),
    ],
)
def test_bound_dropout_layers_keep_noise_shape(layer, shape, same):
    """Checks the shape of the noise, and separate rates for each sample as a tuner sets them."""
    model = keras.Sequential([keras.Input(shape[1:]), layer()])
    rate = rate_of(0.75)
    bind(model, {"*.rate": rate})
    out = numpy(model(np.ones(shape, "float32"), training=True))
    assert set(np.unique(out)) == {0.0, 4.0}
    units = out[tuple(slice(0, 1) if axis in same else slice(None) for axis in range(len(shape)))]
    np.testing.assert_array_equal(out, np.broadcast_to(units, shape))
    assert np.mean(units == 0) == pytest.approx(0.75, abs=0.12)
    for axis in set(range(1, len(shape))) - set(same):
        assert np.any(np.diff(units, axis=axis)), "and not more"
    np.testing.assert_array_equal(numpy(model(np.ones(shape, "float32"))), 1)
    rates = np.linspace(0.0, 0.9, len(out)).astype("float32")
    with override_values({"rate": ops.convert_to_tensor(rates)}):
        out = numpy(model(np.ones(shape, "float32"), training=True)).reshape(len(out), -1)
    assert np.all((out == 0) | np.isclose(out, 1 / (1 - rates[:, None]), rtol=1e-5))


@NOT_ON_JAX
@pytest.mark.parametrize(
    ("layer", "place", "deviation"),
    [
        (lambda: L.GaussianNoise(0.5, seed=1), "stddev", lambda value: value),
        (lambda: L.GaussianDropout(0.5, seed=1), "rate", lambda value: np.sqrt(value / (1 - value))),
    ],
)
def test_bound_noise_layers_use_set_strength(layer, place, deviation):
    model = keras.Sequential([keras.Input((500,)), layer()])
    bind(model, {f"*.{place}": rate_of()})
    for value in (0.0, 0.3, 0.8):
        set_hyperparameters(model, {"rate": value})
        # The inputs are 2, so multiplicative noise is twice as strong.
        factor = 2 if place == "rate" else 1
        noise = numpy(model(np.full((100, 500), 2.0, "float32"), training=True)) - 2
        assert np.mean(noise) == pytest.approx(0, abs=0.05)
        assert np.std(noise) == pytest.approx(factor * deviation(value), rel=0.02, abs=1e-6)


def test_bound_penalties_have_expected_values_and_gradients():
    """Checks bound and constant strengths. A regularizer object that two layers share can be bound in each of them."""
    shared = keras.regularizers.L1L2(l1=0.5, l2=0.25)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            L.Dense(2, kernel_regularizer=shared, bias_regularizer=shared, bias_initializer="ones", name="one"),
            L.Dense(2, kernel_regularizer=shared, activity_regularizer="l2", name="two"),
            L.Dense(1, kernel_regularizer=keras.regularizers.L1(0.1), name="three"),
        ]
    )
    places = {"one.kernel_regularizer.l2": decay_of(3.0, "a"), "one.kernel_regularizer.l1": decay_of(1.0, "b")}
    binding = bind(model, {**places, "three.*.l1": decay_of(2.0, "c"), "two.kernel_regularizer.l2": decay_of(0.0, "d")})
    assert sorted(binding.hyperparameters) == [
        "one.kernel_regularizer.l1",
        "one.kernel_regularizer.l2",
        "three.kernel_regularizer.l1",
        "two.kernel_regularizer.l2",
    ]
    one, two, _ = model.layers
    l1, l2 = (lambda v: np.abs(numpy(v)).sum()), (lambda v: np.square(numpy(v)).sum())
    kernels = [layer.kernel for layer in model.layers]
    expected = [l1(kernels[0]) + 3 * l2(kernels[0]), 0.5 * l1(kernels[1]), 2 * l1(kernels[2])]
    for kernel, value in zip(kernels, expected, strict=True):
        assert numpy(kernel.regularizer(kernel)) == pytest.approx(value, rel=1e-5)
    assert numpy(one.bias.regularizer(one.bias)) == pytest.approx(1.5)
    binding.unbind()
    configurations = [layer.kernel_regularizer.get_config() for layer in model.layers]
    assert configurations == [{"l1": 1.0, "l2": 3.0}, {"l1": 0.5, "l2": 0.0}, {"l1": 2.0}]
    assert one.bias_regularizer is shared
    assert shared.get_config() == {"l1": 0.5, "l2": 0.25}
    assert two.kernel.regularizer is two.kernel_regularizer


def test_training_applies_bound_penalty():
    """Checks a step of gradient descent. An L2 of 0.25 subtracts half of the learning rate times each weight."""
    model = stock()
    model.compile(keras.optimizers.SGD(0.1), "mse")
    decay = decay_of(0.25)
    bind(model, {"dropout.rate": rate_of(0.0), "*.l2": decay})
    model.fit(X[:4], Y[:4], **FIT)
    np.testing.assert_allclose(numpy(model.layers[1].kernel), 0.95, rtol=1e-6)
    decay.set(0.0)
    before = numpy(model.layers[1].kernel)
    residual = 4 * before[0, 0] - 4
    model.fit(X[:4], Y[:4], **FIT)
    np.testing.assert_allclose(numpy(model.layers[1].kernel), before - 0.1 * 2 * residual, rtol=1e-5)


@ON_TORCH
def test_unbind_restores_model(tmp_path):
    """Checks layers, weights and configuration with the current values, and a file that loads without this package."""
    model = stock()
    weights, types = len(model.weights), [type(layer) for layer in model.layers]
    with bind(model, {"dropout.rate": rate_of(0.25), "*.l2": decay_of(0.5)}) as binding:
        binding.hyperparameters["dense.kernel_regularizer.l2"].set(0.125)
        assert list(hyperparameters(model)) == ["rate", "decay"]
        assert [type(layer) for layer in model.layers] == types
        assert len(model.weights) == weights
        model.save(tmp_path / "bound.keras")
        model.save_weights(tmp_path / "bound.weights.h5")
        copy = keras.models.clone_model(model)
        assert copy.layers[0].rate == 0.25
        with pytest.raises(ValueError, match=r"'dropout.rate' is already bound"):
            bind(model, {"dropout.rate": rate_of()})
    assert not hyperparameters(model)
    model.save(tmp_path / "free.keras")
    model.load_weights(tmp_path / "bound.weights.h5")
    stock().load_weights(tmp_path / "bound.weights.h5")
    program = (
        "import keras, sys\n"
        "for name in ('bound.keras', 'free.keras'):\n"
        "    model = keras.models.load_model(name)\n"
        "    print(type(model.layers[0]).__name__, model.layers[0].rate, model.layers[1].kernel_regularizer.l2)\n"
        "print('keras_reg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["Dropout", "0.25", "0.125"] * 2 + ["False"]


def test_bind_accepts_two_bindings_of_one_layer():
    model = keras.Sequential(
        [keras.Input((3,)), L.Dense(2, kernel_regularizer="l2", bias_regularizer="l1", name="dense")]
    )
    first = bind(model, {"dense.kernel_regularizer.l2": decay_of(0.5, "a")})
    second = bind(model, {"dense.bias_regularizer.l1": decay_of(0.25, "b")})
    kernel = model.layers[0].kernel
    assert numpy(kernel.regularizer(kernel)) == pytest.approx(0.5 * np.square(numpy(kernel)).sum(), rel=1e-5)
    first.unbind()
    first.unbind()
    set_hyperparameters(model, {"b": 0.75})
    config = model.layers[0].get_config()
    assert (config["kernel_regularizer"]["config"], config["bias_regularizer"]["config"]) == ({"l2": 0.5}, {"l1": 0.75})
    assert list(hyperparameters(model)) == ["b"]
    second.unbind()
    assert model.layers[0].bias_regularizer.get_config() == {"l1": 0.75}
    assert not hyperparameters(model)


def test_bind_accepts_nested_models_and_patterns():
    block = keras.Sequential([keras.Input((4,)), L.Dropout(0.5, name="drop"), L.Dense(4, name="dense")], name="block")
    inputs = keras.Input((4,))
    outputs = L.Dense(1, kernel_initializer="zeros", use_bias=False)(L.Dropout(0.5, name="drop")(block(block(inputs))))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    binding = bind(model, {"block/drop.rate": rate_of(0.1, "inner")})
    assert block.layers[0].get_config()["rate"] == pytest.approx(0.1)
    binding.unbind()
    rate = rate_of(0.3)
    binding = bind(model, {"*drop.rate": rate})
    assert sorted(binding.hyperparameters) == ["block/drop.rate", "drop.rate"]
    assert hyperparameters(model) == {"rate": [rate]}
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"][0])


def test_bind_counts_shared_layer_once():
    drop = L.Dropout(0.5, seed=1)
    model = keras.Sequential([keras.Input((4,)), *(keras.Sequential([keras.Input((4,)), drop]) for _ in range(2))])
    assert len(bind(model, {"*.rate": rate_of(0.0)}).hyperparameters) == 1
    np.testing.assert_array_equal(numpy(model(X, training=True)), X)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.drop = L.Dropout(0.5, name="drop")
        self.dense = L.Dense(1)

    def call(self, x, training=False):
        return self.dense(self.drop(x, training=training))


def test_bind_accepts_subclassed_models_except_on_jax():
    model = Subclassed()
    model(X)
    rate = rate_of(0.25)
    if BACKEND == "jax":
        with pytest.raises(ValueError, match=r"subclassed model that is built.*Received: model="):
            bind(model, {"drop.rate": rate})
        assert not hyperparameters(model)
        return
    bind(model, {"drop.rate": rate})
    out = numpy(model.drop(X, training=True))
    np.testing.assert_allclose(out[out != 0], 4 / 3, rtol=1e-6)


def test_schedule_changes_bound_hyperparameters():
    model = stock()
    schedule = keras_reg.callbacks.HyperparameterSchedule({"decay": [0.5, 0.25]})
    with bind(model, {"*.l2": decay_of(), "*.rate": rate_of(0.0)}):
        history = model.fit(X, Y, epochs=2, callbacks=[schedule], **FIT).history
    assert history["decay"] == [0.5, 0.25]
    assert history["loss"] == pytest.approx([2.0, 1.0])


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({}, r"must be a dictionary.*Received: hyperparameters=\{\}"),
        (None, r"Received: hyperparameters=None"),
        (
            {"drop.rate": rate_of()},
            r"No stock layer has a number 'drop.rate'. The model has \['dropout.rate', 'dense.kern",
        ),
        ({"dense.rate": rate_of()}, r"'dense.rate'.*Received:"),
        ({"dropout.rate": 0.5}, r"`dropout.rate` must be a `keras_reg.tune.Float`. Received: dropout.rate=0.5"),
        ({"dropout.rate": decay_of()}, r"`high` below 1. Received: dropout.rate=Float\(name='decay'"),
        ({"*.l2": Float("decay", 0.5)}, r"`low` of at least 0. Received: \*.l2=Float"),
        (
            {"dropout.rate": rate_of(), "*.rate": rate_of()},
            r"'dropout.rate' is already bound, or two names match it.*Received:",
        ),
    ],
)
def test_bind_rejects_bad_places_and_keeps_model_unchanged(places, message):
    model = stock()
    with pytest.raises(ValueError, match=message):
        bind(model, places)
    assert not hyperparameters(model)
    assert "call" not in vars(model.layers[0])


def test_bind_rejects_unseeded_layers_and_unbuilt_models():
    model = keras.Sequential([keras.Input((4,)), L.Dropout(0.0, name="drop")])
    with pytest.raises(ValueError, match=r"was created with a rate of 0.*Received: 'drop.rate'"):
        bind(model, {"drop.rate": rate_of()})
    with pytest.raises(ValueError, match=r"must be a built `keras.Model`. Received: model="):
        bind(keras.Sequential([L.Dropout(0.5)]), {"*.rate": rate_of()})
