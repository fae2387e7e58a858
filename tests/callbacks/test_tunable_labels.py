"""Tests of label smoothing, mixup and CutMix against NumPy, per sample, and of schedules and tuners for them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.callbacks import (
    HyperparameterSchedule,
    SelfTuning,
    TunableCutMix,
    TunableLabelSmoothing,
    TunableMixup,
)
from keras_reg.callbacks.batch_mixing import _BatchMixing
from keras_reg.data import with_sample_ids
from keras_reg.regularizers import TunableL2
from keras_reg.training import Batch
from keras_reg.tune import Float, hyperparameters, set_hyperparameters
from keras_reg.tune._override import override_values
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

L = keras.layers
CLASSES, SAMPLES = 3, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(SAMPLES, 4)).astype("float32")
Y = RNG.integers(0, CLASSES, SAMPLES).astype("int32")
ONE_HOT = np.eye(CLASSES, dtype="float32")[Y]
KERNEL = RNG.normal(size=(4, CLASSES)).astype("float32")


def smoothing_of(value=0.2, name="smoothing"):
    return Float(name, value, low=0.0, high=0.9)


def alpha_of(value=0.5, name="alpha"):
    return Float(name, value, low=0.0)


def linear(loss=None, activation=None, **arguments):
    model = keras.Sequential([keras.Input((4,), name="features"), L.Dense(CLASSES, activation, use_bias=False)])
    model.layers[0].kernel.assign(KERNEL)
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, **arguments)
    return model


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def step(model, callbacks, x=X, y=Y, **arguments):
    """Returns the logs of one step, and the gradient that SGD used."""
    before = ops.convert_to_numpy(model.layers[0].kernel)
    logs = model.fit(x, y, batch_size=SAMPLES, shuffle=False, verbose=0, callbacks=callbacks, **arguments).history
    return logs, before - ops.convert_to_numpy(model.layers[0].kernel)


def loss_and_gradient(x, targets, kernel=KERNEL):
    p = softmax(x @ kernel)
    return -np.mean(np.sum(targets * np.log(p), -1)), x.T @ (p - targets) / len(x)


@ON_TORCH
@pytest.mark.parametrize(
    ("loss", "activation", "labels", "compiled"),
    [
        (keras.losses.SparseCategoricalCrossentropy(from_logits=True), None, Y, 0.0),
        ("sparse_categorical_crossentropy", "softmax", Y[:, None], 0.0),
        (keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), None, ONE_HOT, 0.1),
    ],
)
def test_tunable_label_smoothing_smooths_labels(loss, activation, labels, compiled):
    """Compares loss and gradient with those of the labels (1 - rate) y + rate / C, also for a new rate."""
    model, rate = linear(loss, activation), smoothing_of()
    smoothing = TunableLabelSmoothing(rate)
    for value in (0.2, 0.6):
        rate.set(value)
        model.layers[0].kernel.assign(KERNEL)
        logs, gradient = step(model, [smoothing], y=labels)
        labels_of_loss = (1 - compiled) * ONE_HOT + compiled / CLASSES
        expected, of_kernel = loss_and_gradient(X, (1 - value) * labels_of_loss + value / CLASSES)
        assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)
        assert logs["label_smoothing"][0] == pytest.approx(expected - loss_and_gradient(X, labels_of_loss)[0], rel=1e-4)
        np.testing.assert_allclose(gradient, of_kernel, rtol=1e-4, atol=1e-6)
    after = loss_and_gradient(X, labels_of_loss, ops.convert_to_numpy(model.layers[0].kernel))[0]
    assert model.evaluate(X, labels, verbose=0) == pytest.approx(after, rel=1e-5)


def test_label_smoothing_uses_perturbed_rate_of_each_sample():
    model, smoothing = linear(), TunableLabelSmoothing(smoothing_of())
    smoothing.set_model(model)
    smoothing.check_model(model)
    rates = np.linspace(0, 0.8, SAMPLES).astype("float32")
    logits = ops.convert_to_tensor(X @ KERNEL)
    with override_values({"smoothing": ops.convert_to_tensor(rates)}):
        terms, *_ = smoothing.terms(Batch(X, Y, logits, None, Y))["label_smoothing"]
    logarithms = np.log(softmax(X @ KERNEL))
    expected = rates * (logarithms[np.arange(SAMPLES), Y] - logarithms.mean(-1))
    np.testing.assert_allclose(ops.convert_to_numpy(terms), expected, rtol=1e-4, atol=1e-6)
    smoothing.detach()


@ON_TORCH
def test_label_smoothing_accepts_several_outputs_and_sample_weights():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {name: L.Dense(CLASSES, name=name)(inputs) for name in ("left", "right")})
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"left": loss, "right": loss}, loss_weights={"left": 2.0, "right": 1.0})
    kernel, bias = (ops.convert_to_numpy(v) for v in model.get_layer("left").weights)
    weights = np.arange(SAMPLES, dtype="float32")
    logs = model.fit(
        X,
        {"left": Y, "right": Y},
        sample_weight={"left": weights, "right": weights},
        batch_size=SAMPLES,
        verbose=0,
        callbacks=[TunableLabelSmoothing(smoothing_of(0.5), output="left")],
    ).history
    logarithms = np.log(softmax(X @ kernel + bias))
    change = 0.5 * (logarithms[np.arange(SAMPLES), Y] - logarithms.mean(-1))
    assert logs["left_label_smoothing"][0] == pytest.approx(np.mean(2 * weights * change), rel=1e-4)


def mixer(mixing):
    """Returns a function that mixes a batch outside of training, and returns inputs, partners and shares."""
    mixing.create_state(linear())

    def change(x, y=None):
        data = mixing.change_batch((x, y) if y is not None else (x,))
        pairs = [ops.convert_to_numpy(tensor) for tensor in mixing._draws.pairs]
        mixed = data[0] if isinstance(data, tuple) else data
        return keras.tree.map_structure(ops.convert_to_numpy, mixed), *pairs

    return change


@NOT_ON_JAX
def test_mixup_draws_beta_shares_and_keeps_larger_share():
    change = mixer(TunableMixup(alpha_of(0.5), seed=1))
    x = np.arange(40000, dtype="float32")[:, None]
    mixed, order, share = change(x)
    np.testing.assert_allclose(mixed[:, 0], share * x[:, 0] + (1 - share) * x[order, 0], rtol=1e-5)
    assert sorted(order) == list(range(40000)), "each sample is a partner once"
    assert share.min() >= 0.5
    # Beta(1/2, 1/2) is the distribution of sin(v)^2 with v uniform in a quarter of a circle.
    larger = np.sin(np.linspace(np.pi / 4, np.pi / 2, 10001)) ** 2
    assert np.mean(share) == pytest.approx(larger.mean(), abs=0.004)
    assert np.std(share) == pytest.approx(larger.std(), abs=0.004)
    mixed, _, again = change(x)
    assert not np.array_equal(again, share)
    mixed, _, share = mixer(TunableMixup(alpha_of(0.0), seed=1))(x)
    np.testing.assert_allclose(mixed, x, rtol=1e-2)
    assert np.mean(mixed == x) > 0.999


@NOT_ON_JAX
def test_mixup_uses_perturbed_strength_of_each_sample():
    change = mixer(TunableMixup(alpha_of(), seed=1))
    strengths = np.repeat(np.float32([0.01, 100.0]), 4000)
    with override_values({"alpha": ops.convert_to_tensor(strengths)}):
        _, _, share = change(np.ones((8000, 1), "float32"))
    assert np.mean(share[:4000] > 0.99) > 0.9
    assert np.mean(share[4000:] < 0.7) > 0.99


@NOT_ON_JAX
def test_cutmix_shares_equal_pixel_shares():
    images = np.repeat(np.arange(64, dtype="float32"), 8 * 8).reshape(64, 8, 8, 1)
    mixed, order, share = mixer(TunableCutMix(alpha_of(1.0), seed=1))(images)
    for i in np.flatnonzero(order != np.arange(64)):
        assert np.mean(mixed[i] == i) == pytest.approx(share[i])
        assert np.mean(mixed[i] == order[i]) == pytest.approx(1 - share[i])
    assert np.std(share) > 0.1


@ON_TORCH
@pytest.mark.parametrize("cls", [TunableMixup, TunableCutMix])
def test_mixup_trains_on_mixed_labels(cls, monkeypatch):
    """Compares loss and gradient in the compiled step, with fixed partners and shares."""
    order, share = np.roll(np.arange(SAMPLES), 1), np.linspace(0.5, 1, SAMPLES).astype("float32")

    def mix_fixed_pairs(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        self._draws.pairs = ops.convert_to_tensor(order), ops.convert_to_tensor(share)
        return keras.utils.pack_x_y_sample_weight(2 * x, y, weight)

    monkeypatch.setattr(_BatchMixing, "change_batch", mix_fixed_pairs)
    targets = share[:, None] * ONE_HOT + (1 - share[:, None]) * ONE_HOT[order]
    expected, of_kernel = loss_and_gradient(2 * X, targets)
    logs, gradient = step(linear(), [cls(alpha_of())])
    assert logs["loss"][0] == pytest.approx(expected, rel=1e-5)
    change = logs["mixup" if cls is TunableMixup else "cutmix"][0]
    assert change == pytest.approx(expected - loss_and_gradient(2 * X, ONE_HOT)[0], rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(gradient, of_kernel, rtol=1e-4, atol=1e-6)


def test_mixup_mixes_in_compiled_step(compile_modes):
    """Checks strengths in the compiled step: 0 mixes nothing, and a large one mixes samples half and half."""
    x, model, alpha = np.stack([X[0], -X[0]]), linear(**compile_modes[-1]), alpha_of(0.0)
    mixup = TunableMixup(alpha, seed=1)
    logs, _ = step(model, [mixup], x, Y[:2])
    assert logs["mixup"][0] == pytest.approx(0, abs=1e-6)
    alpha.set(1e6)
    model.layers[0].kernel.assign(KERNEL)
    logs, _ = step(model, [mixup], x, Y[:2], epochs=12)
    # The mean of opposite inputs is 0, whose loss is log 3, unless both samples are their own partners.
    assert np.mean(np.abs(np.array(logs["loss"]) - np.log(CLASSES)) < 0.02) > 0.2


@NOT_ON_JAX
def test_mixup_keeps_sample_ids_and_rejects_other_integers():
    change = mixer(TunableMixup(alpha_of(1.0), seed=1))
    x = with_sample_ids(linear(), X)
    mixed, _, _ = change(x, Y)
    np.testing.assert_array_equal(mixed["sample_id"], np.arange(SAMPLES))
    assert not np.array_equal(mixed["features"], X)
    with pytest.raises(ValueError, match=r"mixes floats.* Received: inputs of type int32"):
        step(linear(), [TunableMixup(alpha_of())], X.astype("int32"))
    with pytest.raises(ValueError, match=r"needs images .* Received: inputs of shape"):
        step(linear(), [TunableCutMix(alpha_of())])


@ON_TORCH
@pytest.mark.parametrize("first", [True, False])
def test_schedules_and_tuners_find_label_callbacks_in_any_order(first):
    """Checks both orders of the list. After training, the hyperparameters do not belong to the model."""
    model, rate, alpha = linear(), smoothing_of(), alpha_of()
    methods = [TunableLabelSmoothing(rate), TunableMixup(alpha, seed=1)]
    schedule = HyperparameterSchedule({"smoothing": [0.3, 0.1], "alpha": [0.7, 0.2]})
    callbacks = [*methods, schedule] if first else [schedule, *methods]
    logs, _ = step(model, callbacks, epochs=2)
    assert logs["smoothing"] == pytest.approx([0.3, 0.1])
    assert logs["alpha"] == pytest.approx([0.7, 0.2])
    assert hyperparameters(model) == {}
    tuning = SelfTuning((X + 1, Y + 0), warmup_steps=0, train_steps=1, seed=0)
    step(model, [*methods, tuning] if first else [tuning, *methods], epochs=3)
    assert set(tuning.values) == {"smoothing", "alpha"}
    assert rate.value == pytest.approx(tuning.values["smoothing"])
    assert rate.value != pytest.approx(0.1)
    assert alpha.value != pytest.approx(0.2)


def test_label_smoothing_rate_takes_effect_in_next_step():
    rates = []

    class SetRate(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            set_hyperparameters(self.model, {"smoothing": 0.5 * batch})

        def on_train_batch_end(self, batch, logs=None):
            rates.append(logs["label_smoothing"])

    model = linear()
    model.optimizer.learning_rate = 0.0
    model.fit(
        X, Y, batch_size=4, shuffle=False, verbose=0, callbacks=[SetRate(), TunableLabelSmoothing(smoothing_of())]
    )
    logarithms = np.log(softmax(X @ KERNEL))
    term = np.mean((logarithms[np.arange(SAMPLES), Y] - logarithms.mean(-1))[4:])
    assert rates == pytest.approx([0, 0.5 * term / 2], rel=1e-4)


@ON_TORCH
def test_label_smoothing_shares_hyperparameter_with_layer():
    shared = Float("shared", 0.1, low=0.0, high=0.9)
    model = keras.Sequential([keras.Input((4,)), L.Dense(CLASSES, kernel_regularizer=TunableL2(shared))])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    schedule = HyperparameterSchedule({"shared": [0.3, 0.2]})
    callbacks = [TunableLabelSmoothing(shared), TunableMixup(shared, seed=1), schedule]
    assert model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks).history["shared"] == pytest.approx([0.3, 0.2])


@ON_TORCH
def test_mixup_state_is_saved_and_restored(tmp_path):
    """Checks the value and the seed: resumed training draws the same numbers."""
    for make in (lambda: TunableLabelSmoothing(smoothing_of()), lambda: TunableMixup(alpha_of(), seed=1)):
        first, second = make(), make()
        step(linear(), [first])
        first.hyperparameter.set(0.4)
        first.save_state(tmp_path / "state.npz")
        second.load_state(tmp_path / "state.npz")
        kernels = []
        for method in (first, second):
            model = linear()
            step(model, [method])
            kernels.append(ops.convert_to_numpy(model.layers[0].kernel))
        assert second.hyperparameter.value == pytest.approx(0.4)
        np.testing.assert_array_equal(*kernels)
        again = type(first).from_config(first.get_config())
        assert again.hyperparameter.value == pytest.approx(0.4)
