"""Canaries. Each test shows a behavior of Keras that the package works around. If it fails, remove the workaround."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest

from keras_reg._keras import trainer
from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._keras.cloning import clone_recursively
from keras_reg._keras.function_regularizer import as_regularizer
from tests.support.models import linear, problem
from tests.support.two_devices import call_on_two_devices

SETUP = (pathlib.Path(__file__).parents[2] / "setup.cfg").read_text()
OLDEST = tuple(map(int, re.search(r"keras>=(\d+)\.(\d+)$", SETUP, re.MULTILINE).groups()))
INSTALLED = tuple(map(int, keras.__version__.split(".")[:2]))


def test_keras_fault_callbacks_do_not_know_each_other():
    assert not hasattr(keras.callbacks.Callback(), "callbacks")


def test_callbacks_of_a_fit_are_found_from_a_hook():
    x, y = problem()
    callbacks = []

    class Observer(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.observe()

        def observe(self):
            callbacks.extend(trainer.find_fit_callbacks(self))

    stopping = keras.callbacks.EarlyStopping(monitor="loss")
    observer = Observer()
    linear().fit(x["features"], y, verbose=0, callbacks=[observer, stopping])
    assert stopping in callbacks
    assert observer in callbacks
    assert trainer.find_fit_callbacks(observer) == [observer]


def test_keras_fault_callbacks_do_not_know_the_data():
    x, y = problem()
    attributes, data = [], []

    class Observer(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            attributes.extend(value for value in vars(self).values() if value is x["features"])
            data.append(trainer.find_fit_data())

    linear().fit(x["features"], y, validation_data=(x["features"], y), verbose=0, callbacks=[Observer()])
    assert not attributes
    assert data[0]["training"][0] is x["features"]
    assert data[0]["validation"][1] is y


def test_keras_fault_reading_callback_model_is_needed_and_costs_an_update():
    """Compares the private attribute with `Callback.model`, which writes JAX's variables back."""
    x, y = problem()
    values = []

    class Observer(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            try:
                without_update = keras.ops.convert_to_numpy(model_without_update(self).weights[0].value)
            except TypeError:  # An empty variable has no value.
                without_update = None
            values.append((without_update, keras.ops.convert_to_numpy(updated_model(self).weights[0].value)))

    linear().fit(x["features"], y, verbose=0, batch_size=len(y) // 2, callbacks=[Observer()])
    without_update, updated = values[0]
    assert (without_update is None) == (keras.backend.backend() == "jax")
    assert updated.shape == (6, 5)


def test_keras_fault_only_the_call_of_make_train_function_says_that_fit_begins():
    x, y = problem()
    called_by_fit = []

    class RecordingModel(keras.Sequential):
        def make_train_function(self, force=False):
            called_by_fit.append(trainer.is_called_by_fit())
            return super().make_train_function(force=force)

    model = RecordingModel([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x["features"], y, verbose=0)
    assert called_by_fit == [True]
    model.make_train_function()
    model.train_on_batch(x["features"], y)
    assert set(called_by_fit[1:]) == {False}


def test_keras_fault_public_compile_configuration_needs_serializable_arguments():
    class Unserializable(keras.optimizers.SGD):
        def get_config(self):
            raise NotImplementedError

    model = linear()
    model.compile(Unserializable(), "mse", loss_weights=[0.5])
    with pytest.raises(NotImplementedError):
        model.get_compile_config()
    assert trainer.compile_arguments(model)["loss_weights"] == [0.5]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has this exception")
def test_keras_fault_end_of_data_is_an_error_of_tensorflow():
    import tensorflow as tf

    with pytest.raises(tf.errors.OutOfRangeError) as caught:
        tf.function(lambda iterator: next(iterator))(iter(tf.data.Dataset.range(0)))
    assert trainer.is_end_of_data(caught.value)
    assert trainer.is_end_of_data(StopIteration())
    assert not trainer.is_end_of_data(ValueError("no"))


def nested_twice():
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    return keras.Sequential([keras.Input((2,)), keras.Sequential([keras.Input((2,)), inner])])


def test_keras_fault_clone_model_treats_models_in_nested_models_as_layers():
    """Keras 3.14 fixed this. Remove the workaround once the package requires that version."""
    assert OLDEST < (3, 14)
    found = []

    def copy(layer):
        found.append(type(layer))
        return type(layer).from_config(layer.get_config())

    keras.models.clone_model(nested_twice(), clone_function=copy, recursive=True)
    assert found == [keras.layers.Dense if INSTALLED >= (3, 14) else keras.Sequential]
    found.clear()
    clone_recursively(nested_twice(), copy)
    assert found == [keras.layers.Dense]


def test_keras_fault_variables_reject_functions_as_regularizers():
    """Keras 3.15 fixed this. Remove the workaround once the package requires that version."""
    assert OLDEST < (3, 15)
    variable = keras.Variable([1.0, 2.0])
    if INSTALLED < (3, 15):
        with pytest.raises(ValueError, match="Invalid value for attribute `regularizer`"):
            variable.regularizer = keras.ops.sum
    variable.regularizer = as_regularizer(keras.ops.sum)
    assert (variable.regularizer is keras.ops.sum) == (INSTALLED >= (3, 15))
    assert float(keras.ops.convert_to_numpy(variable.regularizer(variable))) == 3.0
    assert as_regularizer("no regularizer") == "no regularizer"


def test_keras_fault_layers_do_not_list_their_layers():
    assert not hasattr(keras.layers.TimeDistributed(keras.layers.Dense(1)), "layers")


def test_keras_fault_only_seed_generators_are_tracked_beside_the_weights():
    layer = keras.layers.Layer()
    layer.generator = keras.random.SeedGenerator(0)
    layer.variable = keras.Variable(0.0, trainable=False)
    variables, weights = ({id(variable) for variable in group} for group in (layer.variables, layer.weights))
    assert id(layer.generator.state) in variables - weights
    assert id(layer.variable) in variables & weights


def test_keras_fault_attention_dropout_is_replaced_by_overriding_a_private_method():
    called = []

    class RecordingAttention(keras.layers.MultiHeadAttention):
        def _compute_attention(self, *arguments, **keywords):
            called.append(True)
            return super()._compute_attention(*arguments, **keywords)

    x = np.zeros((1, 2, 4), "float32")
    RecordingAttention(1, 4)(x, x)
    assert called


class StartObserver(keras.callbacks.Callback):
    """Records what a callback knows, and what the call stack shows, when the callback receives its model."""

    def set_model(self, model):
        super().set_model(model)
        self.known_params = self.params
        self.is_fit = trainer.is_fit_starting()


def test_keras_fault_callbacks_do_not_know_which_call_begins():
    x, y = problem()
    model, observers = linear(), [StartObserver() for _ in range(4)]
    in_fit, in_inner_evaluate, in_evaluate, in_predict = observers
    inner = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: model.evaluate(x["features"], y, verbose=0, callbacks=[in_inner_evaluate])
    )
    model.fit(x["features"], y, verbose=0, callbacks=[in_fit, inner])
    model.evaluate(x["features"], y, verbose=0, callbacks=[in_evaluate])
    model.predict(x["features"], verbose=0, callbacks=[in_predict])
    assert [observer.known_params for observer in observers] == [None] * 4
    assert [observer.is_fit for observer in observers] == [True, False, False, False]
    in_fit.set_model(model)
    assert in_fit.is_fit is False


class FailingModel(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            raise ValueError("no")
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a fault of the JAX trainer")
def test_keras_fault_failed_jax_step_deletes_weights():
    x, y = problem()
    model = FailingModel([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="no"):
        model.fit(x["features"], y, verbose=0)
    # The variable is empty, or its initializer has created it again. In both cases the weights are lost.
    with pytest.raises(Exception):  # noqa: B017, PT011
        np.asarray(keras.ops.convert_to_numpy(model.weights[0])) + 0.0


@pytest.fixture(scope="module")
def losses_of_replicas():
    return call_on_two_devices("tests._keras.replica_losses", "collect")


ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a fault under `tf.distribute`")


@ON_TENSORFLOW
@pytest.mark.xdist_group("two devices")
def test_keras_fault_replicas_share_losses_of_layers(losses_of_replicas):
    """Lets replicas take turns in a normalization layer. One gets the loss of the other, which counts both losses."""
    first, second = losses_of_replicas["normalized"]
    assert first[0] == second[0] != losses_of_replicas["apart"][0][0]
    assert second[0] == losses_of_replicas["apart"][1][0]
    assert [len(losses) for losses in second] == [1, 2]


@ON_TENSORFLOW
@pytest.mark.xdist_group("two devices")
def test_gathering_layers_keep_losses_of_each_replica(losses_of_replicas):
    np.testing.assert_allclose(losses_of_replicas["gathered"], losses_of_replicas["apart"], rtol=1e-6)
    assert not np.allclose(*losses_of_replicas["apart"], rtol=1e-2)
