"""Sets hyperparameters of models on one device and on two devices."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from keras_reg.layers import TunableDropout
from keras_reg.regularizers import TunableL2
from keras_reg.tune import Float, set_hyperparameters
from tests.support.replicas import two_replicas

X, Y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")


class Set(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        set_hyperparameters(self.model, {"l2": 0.5 * batch})


def train(scope) -> list[float]:
    with scope:
        rate, decay = Float("dropout", 0.0, 0.0, 0.9), Float("l2", 0.5, low=0.0)
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=TunableL2(decay))
        model = keras.Sequential([keras.Input((4,)), TunableDropout(rate, seed=1), dense])
        model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=keras.backend.backend() == "jax")
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0}
    losses = model.fit(X, Y, **fit).history["loss"]
    decay.set(0.25)
    losses += model.fit(X, Y, **fit).history["loss"]
    losses += model.fit(X, Y, callbacks=[Set()], **fit).history["loss"]
    set_hyperparameters(model, {"dropout": 0.9, "l2": 0.0})
    return [*losses, float(model.fit(X, Y, **fit).history["loss"][0] > 1.0), rate.value]


def compare() -> list[list[float]]:
    """Returns the losses on one device and those on two devices."""
    return [train(contextlib.nullcontext()), train(two_replicas())]
