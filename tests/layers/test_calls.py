"""Tests of calls of wrapped layers: sharing, masks, states, seeds, losses and late building."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.wrapped import (
    BACKEND,
    CLASSES,
    ENDS_MASKS,
    ROWS,
    SEQUENCE,
    TOKENS,
    L,
    array,
    normal,
    trained,
    wrap,
)

CLOSE = {"rtol": 1e-4, "atol": 2e-5}
# The base class is tested with a class that adds no weights, and with one that updates weights in each call.
each_class = pytest.mark.parametrize("cls", [CLASSES[0], CLASSES[2]])


def build_both(cls, build):
    """Returns a model of plain layers and one of wrapped layers, from the same seeds."""
    models = []
    for make in (lambda layer: layer, lambda layer: wrap(cls, layer)):
        keras.utils.set_random_seed(2)
        models.append(build(make))
    return models


@ON_TORCH
@each_class
def test_wrapped_layers_work_shared_and_time_distributed(cls):
    def build(make):
        inputs = keras.Input((6, 4))
        shared = make(L.Dense(4, activation="tanh"))
        x = shared(shared(inputs))
        return keras.Model(inputs, L.Dense(1)(L.TimeDistributed(make(L.Dense(3)))(x)))

    plain, wrapped = build_both(cls, build)
    np.testing.assert_allclose(array(wrapped(SEQUENCE)), array(plain(SEQUENCE)), **CLOSE)
    before = [array(v) for v in wrapped.trainable_variables]
    losses = trained(wrapped, SEQUENCE, normal(3, 6, 1), 3)
    assert losses[-1] < losses[0]
    assert all(np.any(array(v) != value) for v, value in zip(wrapped.trainable_variables, before, strict=True))


@NOT_ON_JAX
@each_class
@ENDS_MASKS
def test_wrapped_layers_pass_masks(cls):
    def build(make):
        embedding, lstm = make(L.Embedding(6, 4, mask_zero=True)), make(L.LSTM(5, return_sequences=True))
        return keras.Sequential([keras.Input((4,), dtype="int32"), embedding, lstm, make(L.GRU(3))])

    plain, wrapped = build_both(cls, build)
    np.testing.assert_allclose(array(wrapped(TOKENS)), array(plain(TOKENS)), **CLOSE)
    unmasked = [(layer := model.layers[1])(model.layers[0](TOKENS), mask=None) for model in (plain, wrapped)]
    assert layer.supports_masking == plain.layers[1].supports_masking
    assert wrapped.layers[0].supports_masking
    np.testing.assert_allclose(array(unmasked[1]), array(unmasked[0]), **CLOSE)
    np.testing.assert_array_equal(array(wrapped.layers[0].compute_mask(TOKENS)), TOKENS != 0)


@NOT_ON_JAX
@each_class
@ENDS_MASKS
def test_wrapped_recurrent_layers_return_states(cls):
    state = [normal(3, 5), normal(5, 3).T]
    plain, wrapped = build_both(cls, lambda make: make(L.LSTM(5, return_state=True, return_sequences=True)))
    for arguments in ({}, {"initial_state": state}, {"mask": np.arange(6) < np.array([[6], [3], [1]])}):
        outputs = [layer(SEQUENCE, **arguments) for layer in (plain, wrapped)]
        assert len(outputs[0]) == len(outputs[1]) == 3
        for expected, got in zip(*outputs, strict=True):
            np.testing.assert_allclose(array(got), array(expected), **CLOSE)

    def symbolic(make):
        inputs, states = keras.Input((6, 4)), [keras.Input((5,)), keras.Input((5,))]
        return keras.Model([inputs, *states], make(L.LSTM(5, return_state=True))(inputs, initial_state=states))

    plain, wrapped = build_both(cls, symbolic)
    for expected, got in zip(plain([SEQUENCE, *state]), wrapped([SEQUENCE, *state]), strict=True):
        np.testing.assert_allclose(array(got), array(expected), **CLOSE)


@ON_TORCH
@each_class
def test_wrapped_layers_advance_dropout_seeds(cls):
    """Checks calls, and `fit`, whose steps are stateless on JAX."""
    layer = wrap(cls, L.LSTM(5, dropout=0.5, recurrent_dropout=0.3))
    first, second = (array(layer(SEQUENCE, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(array(layer(SEQUENCE)), array(layer(SEQUENCE)))
    seeds = [v for v in layer.variables if "seed" in v.path]
    before = [array(v) for v in seeds]
    model = keras.Sequential([keras.Input((6, 4)), layer, L.Dense(1)])
    trained(model, SEQUENCE, normal(3, 1), 1)
    assert seeds
    # On PyTorch the seeds of a plain LSTM do not change either, because PyTorch draws from its own generator.
    assert BACKEND == "torch" or any(np.any(array(v) != value) for v, value in zip(seeds, before, strict=True))


@ON_TORCH
@each_class
@pytest.mark.parametrize("execution", ["eager", "compiled"])
def test_wrapped_layers_count_losses_once(cls, execution):
    """Checks activity and kernel regularizers in `losses` and in the logged loss of `fit`."""

    def build(make):
        dense = L.Dense(
            4, activity_regularizer="l2", bias_regularizer=keras.regularizers.L1(0.1), bias_initializer="ones"
        )
        return keras.Sequential([keras.Input((5,)), make(dense), make(L.Dense(1, activity_regularizer="l1"))])

    plain, wrapped = build_both(cls, build)
    losses = [
        sorted(float(array(loss)) for loss in model.losses) for model in (plain, wrapped) if array(model(ROWS)).size
    ]
    assert len(losses[0]) == len(losses[1]) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    mode = {"run_eagerly": True} if execution == "eager" else {"jit_compile": BACKEND == "jax"}
    logged = []
    for model in (plain, wrapped):
        model.compile(keras.optimizers.SGD(0.0), "mse", **mode)
        if execution == "eager" and BACKEND == "jax":
            # On JAX, eager steps sometimes log a different loss while other work runs, with plain layers too.
            logged.append([float(model.compute_loss(ROWS, normal(6, 1), model(ROWS, training=True)))])
            continue
        logged.append(model.fit(ROWS, normal(6, 1), batch_size=3, epochs=2, verbose=0).history["loss"])
        logged[-1].append(model.evaluate(ROWS, normal(6, 1), verbose=0))
    np.testing.assert_allclose(logged[1], logged[0], rtol=1e-4)


class Subclassed(keras.Model):
    """Builds its layers in the first call."""

    def __init__(self, make):
        super().__init__()
        self.attention, self.dense = make(L.MultiHeadAttention(2, 3)), make(L.Dense(1))
        self.recurrent = make(L.GRU(4, return_sequences=True))

    def call(self, inputs, training=None):
        return self.dense(self.recurrent(self.attention(inputs, inputs, training=training)))


@ON_TORCH
@each_class
@pytest.mark.parametrize("kind", ["Sequential", "Subclassed"])
def test_wrapped_layers_build_in_fit(cls, kind):
    """Checks that the first loss equals that of plain layers with the same seeds, and that training lowers it."""

    def build(make):
        if kind == "Subclassed":
            return Subclassed(make)
        return keras.Sequential([make(L.Conv1D(4, 2, activation="relu")), make(L.SimpleRNN(3)), make(L.Dense(1))])

    y = normal(3, 6, 1) if kind == "Subclassed" else normal(3, 1)
    plain, wrapped = build_both(cls, build)
    logged = []
    for model in (plain, wrapped):
        keras.utils.set_random_seed(5)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        logged.append(model.fit(SEQUENCE, y, batch_size=3, epochs=1, verbose=0).history["loss"][0])
    assert logged[1] == pytest.approx(logged[0], rel=1e-4)
    before = [array(v) for v in wrapped.trainable_variables]
    losses = trained(wrapped, SEQUENCE, y, 3)
    assert losses[-1] < losses[0]
    moved = [np.any(array(v) != value) for v, value in zip(wrapped.trainable_variables, before, strict=True)]
    # The bias of the keys in attention has no gradient.
    assert sum(moved) >= len(moved) - 1


@ON_TORCH
@each_class
def test_wrapper_with_trainable_false_freezes_all_variables(cls):
    arguments = {"learnable": True} if cls is CLASSES[0] else {}
    layer = wrap(cls, L.Dense(4), trainable=False, **arguments)
    model = keras.Sequential([keras.Input((5,)), layer, L.Dense(1)])
    assert layer.trainable_variables == []
    before = array(layer(ROWS))
    trained(model, ROWS, normal(6, 1))
    np.testing.assert_allclose(array(layer(ROWS)), before, **CLOSE)
    layer.trainable = True
    trained(model, ROWS, normal(6, 1))
    assert np.abs(array(layer(ROWS)) - before).max() > 1e-4
    frozen = wrap(cls, L.Dense(4, trainable=False))
    frozen(ROWS)
    assert frozen.trainable_variables == []
