"""A small classifier and its data, for tests of combined methods."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg import callbacks, tune
from keras_reg.data import with_sample_ids

SAMPLES, FEATURES, CLASSES = 12, 4, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SAMPLES, FEATURES)).astype("float32")
Y = RNG.integers(0, CLASSES, SAMPLES).astype("int32")
TUNING = (X + 1.0, Y + 0)


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def network(*hidden, optimizer=None, loss=None, normalized=True):
    """Returns a classifier with fixed initial weights, so that single steps differ only in the methods."""
    keras.utils.set_random_seed(0)
    parts = [keras.layers.Dense(6, name="first"), *([keras.layers.BatchNormalization()] if normalized else [])]
    model = keras.Sequential(
        [keras.Input((FEATURES,), name="features"), *parts, *hidden, keras.layers.Dense(CLASSES, name="head")]
    )
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss or cross_entropy(), run_eagerly=True)
    return model


def fit(model, methods=(), epochs=1, x=X):
    data = with_sample_ids(model, x)
    return model.fit(data, Y, batch_size=SAMPLES, epochs=epochs, verbose=0, callbacks=list(methods)).history


def rate(name="rate", init=0.2, high=0.9):
    return tune.Float(name, init=init, low=0.0, high=high)


def early_learning(**arguments):
    return callbacks.EarlyLearningRegularization(SAMPLES, CLASSES, **arguments)


def self_distillation(**arguments):
    return callbacks.ProgressiveSelfDistillation(SAMPLES, CLASSES, **arguments)
