"""Tests of the share of samples with collapsed softmax in the logs."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.callbacks import SoftmaxCollapseMonitor
from tests.support.tiers import ON_TORCH

X = np.array([[0.1], [1.0], [3.0], [9.0], [0.5], [-9.0]], "float32")
Y = np.zeros(6, "int32")


def model(loss, activation=None, **arguments):
    model = keras.Sequential([keras.Input((1,), name="x"), keras.layers.Dense(2, activation, use_bias=False)])
    model.set_weights([np.array([[10.0, -10.0]], "float32")])
    model.compile(keras.optimizers.SGD(0.0), loss, **arguments)
    return model


def share(model, y=Y, **arguments):
    history = model.fit(X, y, batch_size=4, epochs=2, verbose=0, callbacks=[SoftmaxCollapseMonitor()], **arguments)
    return history.history["softmax_collapse"]


@ON_TORCH
def test_softmax_collapse_monitor_logs_share_of_epoch(compile_modes):
    """Checks gaps of 2, 20, 60, 180, 10 and -180 in batches of 4 and 2. Three exceed the 16.6 that float32 resolves."""
    softmax = keras.losses.SparseCategoricalCrossentropy
    for mode in compile_modes:
        np.testing.assert_allclose(share(model(softmax(from_logits=True), **mode)), [0.5, 0.5])
    np.testing.assert_allclose(share(model(softmax(), "softmax")), [0.5, 0.5])
    np.testing.assert_allclose(share(model(softmax(from_logits=True)), Y + 1), [1 / 6, 1 / 6], rtol=1e-6)
    one_hot = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    np.testing.assert_allclose(share(model(one_hot), np.eye(2)[Y]), [0.5, 0.5])


def test_softmax_collapse_monitor_resets_each_epoch():
    """Checks that a second `fit` with the same monitor counts from 0."""
    trained, monitor = model(keras.losses.SparseCategoricalCrossentropy(from_logits=True)), SoftmaxCollapseMonitor()
    for labels, expected in ((Y, 0.5), (Y + 1, 1 / 6)):
        history = trained.fit(X, labels, verbose=0, callbacks=[monitor])
        np.testing.assert_allclose(history.history["softmax_collapse"], [expected], rtol=1e-6)


@ON_TORCH
def test_softmax_collapse_monitor_ignores_validation():
    trained = model(keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = trained.fit(X, Y, validation_data=(X[:1], Y[:1]), verbose=0, callbacks=[SoftmaxCollapseMonitor()])
    np.testing.assert_allclose(history.history["softmax_collapse"], [0.5])
    assert set(history.history) == {"loss", "val_loss", "softmax_collapse"}
    assert set(trained.fit(X, Y, verbose=0).history) == {"loss"}


@ON_TORCH
def test_softmax_collapse_monitor_selects_output():
    inputs = keras.Input((1,), name="x")
    both = {name: keras.layers.Dense(2, use_bias=False, name=name)(inputs) for name in ("a", "b")}
    trained = keras.Model(inputs, both)
    trained.set_weights([np.array([[10.0, -10.0]], "float32"), np.zeros((1, 2), "float32")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trained.compile(keras.optimizers.SGD(0.0), {"a": loss, "b": loss})
    monitors = [SoftmaxCollapseMonitor(output) for output in "ab"]
    history = trained.fit(X, {"a": Y, "b": Y}, verbose=0, callbacks=monitors).history
    assert history["a_softmax_collapse"] == pytest.approx([0.5])
    assert history["b_softmax_collapse"] == [0.0]
    with pytest.raises(ValueError, match="output"):
        trained.fit(X, {"a": Y, "b": Y}, verbose=0, callbacks=[SoftmaxCollapseMonitor()])
