"""Canaries: each shows, a behavior that the package works around. If one fails, the workaround can go."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg._keras import trainer
from keras_reg._keras.callback_model import model_without_update, updated_model
from tests.support.models import linear, problem
from tests.support.two_devices import call_on_two_devices


def test_keras_fault_callbacks_do_not_know_each_other():
    assert not hasattr(keras.callbacks.Callback(), "callbacks")


def test_callbacks_of_a_fit_are_found_from_a_hook():
    x, y = problem()
    found = []

    class Looks(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.look()

        def look(self):
            found.extend(trainer.find_fit_callbacks(self))

    stopping = keras.callbacks.EarlyStopping(monitor="loss")
    looks = Looks()
    linear().fit(x["features"], y, verbose=0, callbacks=[looks, stopping])
    assert stopping in found
    assert looks in found
    assert trainer.find_fit_callbacks(looks) == [looks]


def test_keras_fault_callbacks_do_not_know_the_data():
    x, y = problem()
    known, found = [], []

    class Looks(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            known.extend(value for value in vars(self).values() if value is x["features"])
            found.append(trainer.find_fit_data())

    linear().fit(x["features"], y, validation_data=(x["features"], y), verbose=0, callbacks=[Looks()])
    assert not known
    assert found[0]["training"][0] is x["features"]
    assert found[0]["validation"][1] is y


def test_keras_fault_reading_callback_model_is_needed_and_costs_an_update():
    """The model without an update is a private attribute. `Callback.model` writes JAX's variables back."""
    x, y = problem()
    found = []

    class Looks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            try:
                without_update = keras.ops.convert_to_numpy(model_without_update(self).weights[0].value)
            except TypeError:  # an empty variable has no value
                without_update = None
            found.append((without_update, keras.ops.convert_to_numpy(updated_model(self).weights[0].value)))

    linear().fit(x["features"], y, verbose=0, batch_size=len(y) // 2, callbacks=[Looks()])
    without_update, updated = found[0]
    assert (without_update is None) == (keras.backend.backend() == "jax")
    assert updated.shape == (6, 5)


def test_keras_fault_only_the_call_of_make_train_function_says_that_fit_begins():
    x, y = problem()
    called_by_fit = []

    class Notes(keras.Sequential):
        def make_train_function(self, force=False):
            called_by_fit.append(trainer.is_called_by_fit())
            return super().make_train_function(force=force)

    model = Notes([keras.Input((6,), name="features"), keras.layers.Dense(5)])
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


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="an exception of TensorFlow")
def test_keras_fault_end_of_data_is_an_error_of_tensorflow():
    import tensorflow as tf

    with pytest.raises(tf.errors.OutOfRangeError) as caught:
        tf.function(lambda iterator: next(iterator))(iter(tf.data.Dataset.range(0)))
    assert trainer.is_end_of_data(caught.value)
    assert trainer.is_end_of_data(StopIteration())
    assert not trainer.is_end_of_data(ValueError("no"))


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

    class Notes(keras.layers.MultiHeadAttention):
        def _compute_attention(self, *arguments, **keywords):
            called.append(True)
            return super()._compute_attention(*arguments, **keywords)

    x = np.zeros((1, 2, 4), "float32")
    Notes(1, 4)(x, x)
    assert called


class Begins(keras.callbacks.Callback):
    """What a callback knows, and what is found, when it gets its model."""

    def set_model(self, model):
        super().set_model(model)
        self.told = self.params
        self.found = trainer.is_fit_starting()


def test_keras_fault_callbacks_do_not_know_which_call_begins():
    x, y = problem()
    model, (fits, within, evaluates, predicts) = linear(), (Begins() for _ in range(4))
    inner = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: model.evaluate(x["features"], y, verbose=0, callbacks=[within])
    )
    model.fit(x["features"], y, verbose=0, callbacks=[fits, inner])
    model.evaluate(x["features"], y, verbose=0, callbacks=[evaluates])
    model.predict(x["features"], verbose=0, callbacks=[predicts])
    assert [begins.told for begins in (fits, within, evaluates, predicts)] == [None] * 4
    assert [begins.found for begins in (fits, within, evaluates, predicts)] == [True, False, False, False]
    fits.set_model(model)
    assert fits.found is False


class Fails(keras.Sequential):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            raise ValueError("no")
        return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a fault of the JAX trainer")
def test_keras_fault_failed_jax_step_deletes_weights():
    x, y = problem()
    model = Fails([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match="no"):
        model.fit(x["features"], y, verbose=0)
    # The variable is empty, or made anew by its initializer: either way the weights are gone.
    with pytest.raises(Exception):  # noqa: B017, PT011
        np.asarray(keras.ops.convert_to_numpy(model.weights[0])) + 0.0


@pytest.fixture(scope="module")
def found_losses():
    return call_on_two_devices("tests._keras.replica_losses", "collect")


ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a fault under `tf.distribute`")


@ON_TENSORFLOW
@pytest.mark.xdist_group("two devices")
def test_keras_fault_replicas_share_losses_of_layers(found_losses):
    """Where they take turns, here for normalization, one trains with a loss of the other, and that counts both."""
    first, second = found_losses["normalized"]
    assert first[0] == second[0] != found_losses["apart"][0][0]
    assert second[0] == found_losses["apart"][1][0]
    assert [len(losses) for losses in second] == [1, 2]


@ON_TENSORFLOW
@pytest.mark.xdist_group("two devices")
def test_gathering_layers_keep_losses_of_each_replica(found_losses):
    np.testing.assert_allclose(found_losses["gathered"], found_losses["apart"], rtol=1e-6)
    assert not np.allclose(*found_losses["apart"], rtol=1e-2)
