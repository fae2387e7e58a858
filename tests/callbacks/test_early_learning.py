"""Tests of early-learning regularization in `fit`: the authors' numbers, kinds of labels and outputs, bad input."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation, early_learning
from keras_reg.data import accept_sample_ids, with_sample_ids
from keras_reg.training._sample_ids import fingerprint
from tests.support.models import Subclassed, linear
from tests.support.tiers import ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "elr.npz", allow_pickle=False)
X, LABELS = GOLDEN["train/X"].astype("float32"), GOLDEN["noisy_labels"].astype("int32")


def golden_model(**compile_arguments):
    model = linear(**compile_arguments)
    model.set_weights([GOLDEN["train/W0"], GOLDEN["train/b0"]])
    return model


def train(model, callback, labels=LABELS, steps=9, **arguments):
    """Trains on the authors' batches with gradient descent, and returns the final weights and targets."""
    order = GOLDEN["index"].reshape(-1)[: 4 * steps]
    x = with_sample_ids(model, X[order]) | {"sample_id": order.astype("int32")}
    model.fit(x, labels[order], batch_size=4, shuffle=False, verbose=0, callbacks=[callback], **arguments)
    return model.get_weights()[0], callback.targets


def test_early_learning_matches_golden_weights_and_targets_in_fit(compile_modes):
    for mode in compile_modes:
        weights, targets = train(golden_model(**mode), EarlyLearningRegularization(12, 5))
        np.testing.assert_allclose(weights, GOLDEN["train/W"][-1], atol=1e-5)
        np.testing.assert_allclose(targets, GOLDEN["train/target"][-1], atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras runs one step per execution on PyTorch")
def test_early_learning_trains_the_same_with_steps_per_execution():
    weights, targets = train(golden_model(steps_per_execution=4), EarlyLearningRegularization(12, 5))
    np.testing.assert_allclose(weights, GOLDEN["train/W"][-1], atol=1e-5)
    np.testing.assert_allclose(targets, GOLDEN["train/target"][-1], atol=1e-5)


def naive(monkeypatch, variant):
    if variant == "use before update":
        monkeypatch.setattr(
            early_learning.PerSampleMemory,
            "write",
            lambda self, ids, values, write=early_learning.PerSampleMemory.write: (
                self.read(ids)[0],
                write(self, ids, values),
            )[0],
        )
    elif variant == "gradient through targets":
        penalty = early_learning.early_learning_penalty

        def leaky(targets, probabilities):
            own = 0.3 * probabilities / ops.sum(probabilities, axis=-1, keepdims=True)
            targets = targets - ops.stop_gradient(own) + own
            return ops.log1p(-ops.sum(targets * probabilities, axis=-1)) + 0.0 * penalty(targets, probabilities)

        monkeypatch.setattr(early_learning, "early_learning_penalty", leaky)
    elif variant == "bias correction":
        penalty = early_learning.early_learning_penalty
        monkeypatch.setattr(early_learning, "early_learning_penalty", lambda t, p: penalty(t / 0.3 * 0.99, p))
    elif variant == "no clamp":
        monkeypatch.setattr(early_learning, "clip_probabilities", lambda p, epsilon: p)


@ON_TORCH
@pytest.mark.parametrize("variant", ["use before update", "gradient through targets", "bias correction", "no clamp"])
def test_early_learning_differs_from_naive_variants_in_fit(monkeypatch, variant):
    # The clamp only changes confident predictions. A momentum of 0 copies them into the target at once.
    scale, momentum = (10.0, 0.0) if variant == "no clamp" else (1.0, 0.7)

    def trained():
        model = golden_model(run_eagerly=True)
        model.set_weights([scale * w for w in model.get_weights()])
        return train(model, EarlyLearningRegularization(12, 5, momentum=momentum))[0]

    expected = trained()
    naive(monkeypatch, variant)
    assert not np.allclose(trained(), expected, atol=1e-3)  # Without the clamp, weights are not finite.


@ON_TORCH
def test_early_learning_accepts_one_hot_labels_and_probabilities():
    sparse, _ = train(golden_model(), EarlyLearningRegularization(12, 5))
    layers = golden_model(compiled=False).layers
    model = keras.Sequential([keras.Input((6,), name="features"), *layers, keras.layers.Softmax()])
    model.compile(keras.optimizers.SGD(0.5), "categorical_crossentropy")
    weights, targets = train(model, EarlyLearningRegularization(12, 5), np.eye(5, dtype="float32")[LABELS])
    np.testing.assert_allclose(weights, sparse, atol=1e-5)
    np.testing.assert_allclose(targets, GOLDEN["train/target"][-1], atol=1e-5)


@ON_TORCH
@pytest.mark.parametrize("structure", ["list", "dict"])
def test_early_learning_regularizes_one_output_of_several(structure):
    def two_outputs():
        inputs = keras.Input((6,), name="features")
        kind = keras.layers.Dense(5, name="kind")
        amount = keras.layers.Dense(1, name="amount", kernel_initializer="zeros")
        outputs = [amount(inputs), kind(inputs)]
        model = keras.Model(
            inputs, outputs if structure == "list" else dict(zip(["amount", "kind"], outputs, strict=True))
        )
        loss = {"kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "amount": "mse"}
        model.compile(keras.optimizers.SGD(0.5), [loss["amount"], loss["kind"]] if structure == "list" else loss)
        kind.set_weights([GOLDEN["train/W0"], GOLDEN["train/b0"]])
        return model

    model, callback = two_outputs(), EarlyLearningRegularization(12, 5, output="kind")
    order = GOLDEN["index"].reshape(-1)[:12]
    x = {"features": X[order], "sample_id": order.astype("int32")}
    x = with_sample_ids(model, X[order]) | {"sample_id": x["sample_id"]}
    labels = {"kind": LABELS[order], "amount": np.zeros((12, 1), "float32")}
    labels = labels if structure == "dict" else [labels["amount"], labels["kind"]]
    history = model.fit(x, labels, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(model.get_layer("kind").get_weights()[0], GOLDEN["train/W"][2], atol=1e-5)
    assert "kind_early_learning" in history.history
    with pytest.raises(ValueError, match=r"outputs \[.*'kind'.*Received: output=None"):
        two_outputs().fit(x, labels, verbose=0, callbacks=[EarlyLearningRegularization(12, 5)])


def test_early_learning_trains_subclassed_model_the_same():
    model = Subclassed()
    model(X)
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.set_weights([GOLDEN["train/W0"], GOLDEN["train/b0"]])
    adapted = accept_sample_ids(model)
    adapted.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    _, targets = train(adapted, EarlyLearningRegularization(12, 5))
    np.testing.assert_allclose(model.get_weights()[0], GOLDEN["train/W"][-1], atol=1e-5)
    np.testing.assert_allclose(targets, GOLDEN["train/target"][-1], atol=1e-5)


def test_early_learning_trains_masked_samples_on_labels_only():
    ids = np.array([-1, 1, -1, 3], "int32")
    callback, model = EarlyLearningRegularization(12, 5), golden_model()
    x = with_sample_ids(model, X[:4]) | {"sample_id": ids}
    history = model.fit(x, LABELS[:4], batch_size=4, verbose=0, shuffle=False, callbacks=[callback])
    np.testing.assert_array_equal(callback.memory.numpy_visited(), np.isin(np.arange(12), [1, 3]))
    logits = X[[1, 3]] @ GOLDEN["train/W0"] + GOLDEN["train/b0"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = 3.0 * np.log(1 - (0.3 * p * p).sum(1)).sum() / 4
    np.testing.assert_allclose(history.history["early_learning"], [expected], rtol=1e-5)


def test_early_learning_reports_suspected_noise_and_targets():
    callback = EarlyLearningRegularization(12, 5)
    train(golden_model(), callback, steps=3)
    suspected = callback.suspected_noise(LABELS)
    np.testing.assert_array_equal(suspected, callback.targets.argmax(1) != LABELS)
    np.testing.assert_array_equal(callback.suspected_noise(np.eye(5)[LABELS]), suspected)
    np.testing.assert_array_equal(callback.suspected_noise(LABELS[:, None]), suspected)
    assert suspected.any()
    assert not suspected.all()
    with pytest.raises(ValueError, match=r"shape \(12,\).*Received: labels of shape \(11,\)"):
        callback.suspected_noise(LABELS[:11])


def test_early_learning_does_not_suspect_unvisited_samples():
    callback, model = EarlyLearningRegularization(12, 5), golden_model()
    model.fit(with_sample_ids(model, X[:4]), LABELS[:4], verbose=0, callbacks=[callback])
    assert not callback.suspected_noise(LABELS)[4:].any()


def test_early_learning_targets_are_readable_during_training():
    seen = []

    class ReadTargets(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(callback.targets.sum())

    callback, model = EarlyLearningRegularization(12, 5), golden_model()
    x = with_sample_ids(model, X)
    model.fit(x, LABELS, batch_size=4, verbose=0, epochs=2, callbacks=[callback, ReadTargets()])
    expected = [1.2, 2.4, 3.6, *(3.6 + 0.21 * 4 * np.arange(1, 4))]  # 1 - 0.7**k for each row after k visits.
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@ON_TORCH
def test_early_learning_resumes_exactly_from_saved_state(tmp_path):
    unbroken, unbroken_targets = train(golden_model(), EarlyLearningRegularization(12, 5))
    first, model = EarlyLearningRegularization(12, 5), golden_model()
    train(model, first, steps=9)
    x = with_sample_ids(model, X)
    model.fit(x, LABELS, batch_size=4, shuffle=False, verbose=0, callbacks=[first])
    expected = model.get_weights()[0], first.targets

    half, model = EarlyLearningRegularization(12, 5), golden_model()
    train(model, half, steps=9)
    half.save_state(tmp_path / "memory.npz")
    resumed = EarlyLearningRegularization(12, 5)
    resumed.load_state(tmp_path / "memory.npz")
    model.fit(x, LABELS, batch_size=4, shuffle=False, verbose=0, callbacks=[resumed])
    np.testing.assert_array_equal(model.get_weights()[0], expected[0])
    np.testing.assert_array_equal(resumed.targets, expected[1])
    np.testing.assert_allclose(unbroken_targets, half.targets)
    assert unbroken.shape == (6, 5)
    other = EarlyLearningRegularization(20, 5)
    other.load_state(tmp_path / "memory.npz")
    with pytest.raises(ValueError, match=r"does not fit: its shape is \(13, 5\), expected \(21, 5\)"):
        model.fit(x, LABELS, verbose=0, callbacks=[other])


@ON_TORCH
@pytest.mark.parametrize("save_memory", [True, False])
@pytest.mark.parametrize("method_first", [True, False])
def test_backup_and_restore_recovers_early_learning_memory(tmp_path, method_first, save_memory):
    def run(epochs, callback, backup=True):
        model = golden_model()
        callbacks = [callback, keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)]
        callbacks = callbacks[: 1 + backup] if method_first else callbacks[: 1 + backup][::-1]
        model.fit(with_sample_ids(model, X), LABELS, 4, epochs, verbose=0, shuffle=False, callbacks=callbacks)
        return model.get_weights()[0], callback.targets

    weights, targets = run(4, EarlyLearningRegularization(12, 5), backup=False)
    run(2, EarlyLearningRegularization(12, 5, save_memory=save_memory))
    resumed_weights, resumed_targets = run(4, EarlyLearningRegularization(12, 5, save_memory=save_memory))
    same = np.array_equal(resumed_weights, weights), np.array_equal(resumed_targets, targets)
    assert same == ((True, True) if save_memory else (False, False))


@ON_TORCH
def test_model_saved_during_early_learning_has_no_package_state(tmp_path):
    model = golden_model()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    train(model, EarlyLearningRegularization(12, 5))
    model.fit(with_sample_ids(model, X), LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5), checkpoint])
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    assert not [name for name in vars(loaded) if "keras_reg" in name]


@ON_TORCH
def test_early_learning_detects_changed_sample_ids(compile_modes):
    for mode in compile_modes:
        model, callback = golden_model(**mode), EarlyLearningRegularization(12, 5, check_ids=True)
        x = with_sample_ids(model, X)
        model.fit(x, LABELS, batch_size=4, verbose=0, epochs=2, callbacks=[callback])
        targets, weights = callback.targets, model.get_weights()[0]
        x["sample_id"] = np.roll(x["sample_id"], 1)
        with pytest.raises(ValueError, match=r"changed their meaning.*Received: a different label for sample id \d+"):
            model.fit(x, LABELS, batch_size=4, verbose=0, callbacks=[callback])
        assert np.isfinite(weights).all()
        x = with_sample_ids(model, X)
        model.fit(x, LABELS, batch_size=4, verbose=0, callbacks=[callback])  # Correct ids train again.
        assert callback.targets.sum() > targets.sum()


@ON_TORCH
def test_early_learning_save_state_ignores_save_memory_option(tmp_path):
    kept = EarlyLearningRegularization(12, 5, save_memory=False)
    with pytest.raises(ValueError, match=r"no state to save\. Pass it to `fit` first"):
        kept.save_state(tmp_path / "state.npz")
    assert not (tmp_path / "state.npz").exists()
    train(golden_model(), kept)
    kept.save_state(tmp_path / "state.npz")
    model, again = golden_model(), EarlyLearningRegularization(12, 5)
    again.load_state(tmp_path / "state.npz")
    train(model, again)
    train(model, kept_too := EarlyLearningRegularization(12, 5))
    assert again.targets.sum() > kept_too.targets.sum() + 1
    other = ProgressiveSelfDistillation(12, 5)
    with pytest.raises(ValueError, match=r"no state of this ProgressiveSelfDistillation.*Received: .*state.npz"):
        other.load_state(tmp_path / "state.npz")


@ON_TORCH
@pytest.mark.parametrize("batch_size", [4, 5])  # With 5 of 12, TensorFlow does not know the size of a batch.
def test_early_learning_checks_ids_with_one_hot_labels(batch_size):
    one_hot = np.eye(5, dtype="float32")[LABELS]
    model, callback = linear(compiled=False), EarlyLearningRegularization(12, 5, check_ids=True)
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    x = with_sample_ids(model, X)
    model.fit(x, one_hot, batch_size=batch_size, verbose=0, epochs=2, callbacks=[callback])
    with pytest.raises(ValueError, match="changed their meaning"):
        model.fit(x, np.roll(one_hot, 1, axis=1), batch_size=batch_size, verbose=0, callbacks=[callback])


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on other backends a step knows all sizes")
def test_id_check_rejects_labels_of_unknown_length():
    import tensorflow as tf

    with pytest.raises(ValueError, match=r"Pad them to one length. Received: labels of shape \(4, None\)"):
        tf.function(fingerprint).get_concrete_function(tf.TensorSpec((4, None), tf.int32))


def test_early_learning_stores_only_targets_without_check_ids():
    callback, model = EarlyLearningRegularization(12, 5), golden_model()
    train(model, callback)
    assert [metric.name for metric in callback.state] == ["targets"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("sample_id"), r"`x` has no 'sample_id'.*with_sample_ids.*Received"),
        (lambda x: x.update(sample_id=np.arange(12, dtype="float32")), r"must be integers.*Received.*float32"),
        (lambda x: x.update(sample_id=np.zeros((12, 2), "int32")), r"exactly one sample id.*Received.*2\)"),
        (lambda x: x.update(sample_id=np.arange(12, dtype="int32") + 1), r"below `num_samples`.*Received.*id 12"),
    ],
)
def test_early_learning_rejects_bad_ids_and_keeps_model_intact(compile_modes, change, message):
    for mode in compile_modes:
        model, callback = golden_model(**mode), EarlyLearningRegularization(12, 5)
        x = with_sample_ids(model, X)
        change(x)
        with pytest.raises(ValueError, match=message):
            model.fit(x, LABELS, batch_size=12, verbose=0, callbacks=[callback])
        assert np.isfinite(model.get_weights()[0]).all()
        model.set_weights([GOLDEN["train/W0"], GOLDEN["train/b0"]])
        weights, _ = train(model, EarlyLearningRegularization(12, 5))
        np.testing.assert_allclose(weights, GOLDEN["train/W"][-1], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, r"at least 2.*Received: num_classes=1"),
        ({"num_classes": 5.0}, r"Received: num_classes=5.0"),
        ({"num_samples": 0}, r"Received: num_samples=0"),
        ({"num_samples": True}, r"Received: num_samples=True"),
        ({"strength": -1.0}, r"Received: strength=-1.0"),
        ({"strength": float("nan")}, r"Received: strength=nan"),
        ({"strength": True}, r"Received: strength=True"),
        ({"from_logits": "no"}, r"must be True, False or None. Received: from_logits='no'"),
        ({"momentum": 1.0}, r"Received: momentum=1.0"),
        ({"momentum": -0.1}, r"Received: momentum=-0.1"),
        ({"epsilon": 0.0}, r"Received: epsilon=0.0"),
        ({"epsilon": 0.6}, r"Received: epsilon=0.6"),
    ],
)
def test_early_learning_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyLearningRegularization(**{"num_samples": 12, "num_classes": 5, **arguments})


def test_early_learning_rejects_predictions_of_another_width():
    model = golden_model()
    with pytest.raises(ValueError, match=r"Received: predictions of shape .*5\) with num_classes=7"):
        model.fit(with_sample_ids(model, X), LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 7)])


def test_early_learning_needs_from_logits_for_custom_loss():
    model = linear(compiled=False)
    model.compile("sgd", lambda y, p: ops.mean(p))
    x = with_sample_ids(model, X)
    with pytest.raises(ValueError, match=r"pass `from_logits=True`.*Received: loss="):
        model.fit(x, LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5)])
    history = model.fit(x, LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5, from_logits=True)])
    assert "early_learning" in history.history


def test_early_learning_targets_raise_before_fit():
    with pytest.raises(ValueError, match="nothing to read yet"):
        _ = EarlyLearningRegularization(12, 5).targets


@ON_TORCH
def test_early_learning_warns_of_callbacks_that_monitor_the_loss():
    model = golden_model()
    x = with_sample_ids(model, X)
    stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=9)
    with pytest.warns(UserWarning, match=r"EarlyStopping monitors `loss`.*val_accuracy"):
        model.fit(
            with_sample_ids(model, X), LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5), stopping]
        )
    quiet = keras.callbacks.EarlyStopping(monitor="val_loss", patience=9)
    callbacks = [EarlyLearningRegularization(12, 5), quiet]  # A warning would fail the test.
    history = model.fit(x, LABELS, validation_data=(X, LABELS), verbose=0, callbacks=callbacks)
    assert "early_learning" in history.history


@ON_TORCH
def test_early_learning_warns_of_no_effect():
    model = golden_model()
    x = with_sample_ids(model, X)
    with pytest.warns(keras_reg.NoEffectWarning, match="strength .* is 0"):
        model.fit(x, LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5, strength=0.0)])
    x["sample_id"] = np.full(12, -1, "int32")
    with pytest.warns(keras_reg.NoEffectWarning, match="No training sample had an id"):
        model.fit(x, LABELS, verbose=0, callbacks=[EarlyLearningRegularization(12, 5)])


@ON_TORCH
def test_early_learning_finds_wrong_labels_of_real_images(digits):
    x, clean = digits
    noisy = keras_reg.data.symmetric_noise(clean, 0.3, 10, seed=0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)])
    model.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = EarlyLearningRegularization(len(x), 10)
    model.fit(with_sample_ids(model, x), noisy, batch_size=32, epochs=40, verbose=0, callbacks=[callback])
    suspected = callback.suspected_noise(noisy)
    assert suspected[noisy != clean].mean() > 0.85
    assert suspected[noisy == clean].mean() < 0.08
