"""Each fault of Keras that is worked around, shown with plain Keras: a test that fails here can be celebrated."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.training import keras_faults
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
            found.extend(keras_faults.callbacks_do_not_know_each_other(self))

    stopping = keras.callbacks.EarlyStopping(monitor="loss")
    looks = Looks()
    linear().fit(x["features"], y, verbose=0, callbacks=[looks, stopping])
    assert stopping in found
    assert looks in found
    assert keras_faults.callbacks_do_not_know_each_other(looks) == [looks]


class Begins(keras.callbacks.Callback):
    """What a callback knows, and what is found, when it gets its model."""

    def set_model(self, model):
        super().set_model(model)
        self.told = self.params
        self.found = keras_faults.callbacks_are_not_told_what_begins()


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
    return call_on_two_devices("tests.training.replica_losses", "collect")


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
