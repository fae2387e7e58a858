"""Tests of progressive self-distillation in `fit`: the authors' numbers, sources, kinds of labels and outputs."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation
from keras_reg.data import with_sample_ids
from tests.support.models import linear, problem
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "pskd.npz", allow_pickle=False)
LOGITS, LABELS, IDS = GOLDEN["logits"].reshape(36, 5), GOLDEN["labels"].reshape(-1), GOLDEN["index"].reshape(-1)
# Each row of the identity selects one row of the weights. A step therefore receives exactly the authors' logits, and
# changes the weights by exactly the gradient with respect to these logits.
ROWS = np.eye(36, dtype="float32")
PIECE = [slice(12 * epoch, 12 * epoch + 12) for epoch in range(3)]


def golden_model(loss=None, **compile_arguments):
    model = keras.Sequential([keras.Input((36,), name="row"), keras.layers.Dense(5, use_bias=False)])
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, **compile_arguments)
    model.set_weights([LOGITS])
    return model


def train(model, callback, labels=LABELS, epochs=(0, 1, 2)):
    """Trains with one `fit` per epoch on the authors' batches. Returns the losses and gradients of the steps."""
    means = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: means.append(float(logs["loss"])))
    for epoch in epochs:
        x = with_sample_ids(model, ROWS[PIECE[epoch]]) | {"sample_id": IDS[PIECE[epoch]].astype("int32")}
        y = labels[PIECE[epoch]]
        callbacks = [callback, record]
        model.fit(x, y, 4, epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=callbacks)
    means = np.reshape(means, (-1, 3)) * [1, 2, 3]
    return np.diff(means, prepend=0).reshape(-1), (LOGITS - model.get_weights()[0]).reshape(9, 4, 5)


def assert_golden(case, losses, gradients):
    np.testing.assert_allclose(losses, GOLDEN[f"pskd/{case}/loss"], atol=2e-6, rtol=1e-6)
    np.testing.assert_allclose(gradients, GOLDEN[f"pskd/{case}/grad"], atol=1e-6)


@pytest.mark.parametrize("case", ["aT0.8_T3", "aT0.8_T300", "aT0.3_T3", "aT1_T3"])
def test_self_distillation_matches_golden_losses_and_gradients_in_fit(compile_modes, case):
    for mode in compile_modes:
        final, epochs = float(GOLDEN[f"pskd/{case}/alpha_T"]), int(GOLDEN[f"pskd/{case}/end_epoch"])
        callback = ProgressiveSelfDistillation(12, 5, final, epochs=epochs)
        assert_golden(case, *train(golden_model(**mode), callback))
        np.testing.assert_allclose(callback.memory.numpy(), GOLDEN[f"pskd/{case}/memory"][-1], atol=1e-6)


def test_self_distillation_warns_of_final_weight_0_without_effect():
    with pytest.warns(keras_reg.NoEffectWarning, match="weight of 0"):
        assert_golden("aT0_T3", *train(golden_model(), ProgressiveSelfDistillation(12, 5, 0.0, epochs=3)))


def test_self_distillation_accepts_one_hot_labels_and_probabilities():
    model = keras.Sequential([keras.Input((36,), name="row"), keras.layers.Dense(5, "softmax", use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy")
    model.set_weights([LOGITS])
    one_hot = np.eye(5, dtype="float32")[LABELS]
    assert_golden("aT0.8_T3", *train(model, ProgressiveSelfDistillation(12, 5, epochs=3), one_hot))


def test_label_smoothing_smooths_label_and_not_past_prediction():
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    one_hot = np.eye(5, dtype="float32")[LABELS]
    losses, _ = train(golden_model(loss), ProgressiveSelfDistillation(12, 5, epochs=3), one_hot)
    log_p = GOLDEN["logits"] - np.log(np.exp(GOLDEN["logits"]).sum(-1, keepdims=True))
    weight = np.repeat([0.0, *GOLDEN["pskd/aT0.8_T3/alpha_t"][1:]], 3)[:, None, None]
    hard = np.eye(5)[GOLDEN["labels"]]
    soft = GOLDEN["pskd/aT0.8_T3/soft_targets"] + (1 - weight) * (0.1 / 5 - 0.1 * hard)
    np.testing.assert_allclose(losses, -(soft * log_p).sum(-1).mean(-1), rtol=1e-5)


def test_loss_weights_scale_self_distillation_term():
    losses, gradients = train(golden_model(loss_weights=[2.0]), ProgressiveSelfDistillation(12, 5, epochs=3))
    assert_golden("aT0.8_T3", losses / 2, gradients / 2)


def test_sample_weight_scales_both_self_distillation_parts():
    callback, model = ProgressiveSelfDistillation(12, 5, epochs=3), golden_model()
    train(model, callback, epochs=(0,))
    before, weight = model.get_weights()[0], np.arange(12, dtype="float32")
    x = with_sample_ids(model, ROWS[PIECE[1]]) | {"sample_id": IDS[PIECE[1]].astype("int32")}
    arguments = {"initial_epoch": 1, "shuffle": False, "verbose": 0, "callbacks": [callback]}
    model.fit(x, LABELS[PIECE[1]], 4, 2, sample_weight=weight, **arguments)
    gradient = GOLDEN["pskd/aT0.8_T3/grad"].reshape(36, 5)[PIECE[1]] * weight[:, None]
    np.testing.assert_allclose((before - model.get_weights()[0])[PIECE[1]], gradient, atol=5e-6)


def test_self_distillation_keeps_hard_labels_of_unvisited_rows():
    callback, model = ProgressiveSelfDistillation(12, 5, epochs=3), golden_model()
    train(model, callback, epochs=(1, 2))  # Without a first epoch, all targets of the second one are hard.
    log_p = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
    gradient = (np.exp(log_p) - np.eye(5)[LABELS])[PIECE[1]] / 4
    np.testing.assert_allclose((LOGITS - model.get_weights()[0])[PIECE[1]], gradient, atol=1e-6)


@ON_TORCH
def test_self_distillation_begins_second_fit_with_hard_targets():
    callback = ProgressiveSelfDistillation(12, 5, epochs=3)
    assert_golden("aT0.8_T3", *train(golden_model(), callback))
    assert_golden("aT0.8_T3", *train(golden_model(), callback))


def test_self_distillation_weight_uses_epochs_of_fit():
    callback = ProgressiveSelfDistillation(12, 5, 0.6)
    callback.set_params({"epochs": 4})
    np.testing.assert_allclose([callback.weight(epoch) for epoch in range(4)], [0.0, 0.3, 0.45, 0.6])
    callback = ProgressiveSelfDistillation(12, 5, 0.6, epochs=6)
    callback.set_params({"epochs": 4})
    np.testing.assert_allclose(callback.weight(3), 0.4)
    callback = ProgressiveSelfDistillation(12, 5, 0.6, schedule="constant")
    callback.set_params({"epochs": 4})
    np.testing.assert_allclose([callback.weight(epoch) for epoch in range(3)], [0.0, 0.6, 0.6])
    callback = ProgressiveSelfDistillation(12, 5, schedule=lambda epoch, epochs: epoch)
    callback.set_params({"epochs": 4})
    with pytest.raises(ValueError, match=r"from 0 to 1\. Received: 2\.0 for epoch 2 of 4"):
        callback.weight(2)


def test_self_distillation_weight_changes_without_retracing():
    traces = []

    class Counted(ProgressiveSelfDistillation):
        def terms(self, batch):
            traces.append(1)
            return super().terms(batch)

    if keras.backend.backend() == "torch":
        pytest.skip("PyTorch traces nothing")
    x, y = problem()
    model = linear(jit_compile=True)
    model.fit(with_sample_ids(model, x["features"]), y, 4, 6, verbose=0, callbacks=[Counted(12, 5)])
    assert len(traces) == 1


def regularized():
    """Returns a model with dropout and batch normalization, whose inference differs from training."""
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu")(inputs))
    outputs = keras.layers.Dense(5)(keras.layers.Dropout(0.5, seed=1)(hidden))
    return keras.Model(inputs, outputs)


class FrozenMean(ProgressiveSelfDistillation):
    """Logs the mean probability of class 0 that the frozen model predicts."""

    def terms(self, batch):
        zero = 0.0 * super().terms(batch)["self_distillation"][0]
        return {"self_distillation": (ops.softmax(self._frozen.predict(batch.x))[:, 0] + zero, None)}


class MeanPrediction(keras.callbacks.Callback):
    """Records the mean probability of class 0 at the start of each epoch."""

    def __init__(self, x):
        super().__init__()
        self.x, self.means = x, []

    def on_epoch_begin(self, epoch, logs=None):
        logits = self.model.predict(self.x, verbose=0)
        self.means.append((np.exp(logits) / np.exp(logits).sum(1, keepdims=True))[:, 0].mean())


@NOT_ON_JAX
def test_frozen_teacher_predicts_as_model_at_end_of_last_epoch(compile_modes):
    """Checks that the copy predicts in all steps of an epoch what the model predicted at the start of the epoch."""
    x, y = problem()
    for mode in compile_modes:
        keras.utils.set_random_seed(3)
        model = regularized()
        model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True), **mode)
        recorder = MeanPrediction(x["features"])
        callbacks = [recorder, FrozenMean(source="model")]
        history = model.fit(x["features"], y, 4, 3, verbose=0, callbacks=callbacks).history
        np.testing.assert_allclose(history["self_distillation"], recorder.means, rtol=1e-5)
        assert np.ptp(recorder.means) > 1e-3


def test_source_model_trains_towards_frozen_predictions(compile_modes):
    """Compares with gradient descent in NumPy on a linear model, where training and inference are the same."""
    x, y = problem()
    features, onehot = x["features"].astype("float64"), np.eye(5)[y]
    for mode in compile_modes:
        model = linear(**mode)
        weights = [w.astype("float64") for w in model.get_weights()]
        model.fit(x["features"], y, 12, 3, verbose=0, callbacks=[ProgressiveSelfDistillation(source="model")])
        for epoch in range(3):
            logits = features @ weights[0] + weights[1]
            p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            # An epoch has one batch, so the frozen weights equal the current ones, and the past prediction is p.
            weight = 0.8 * (epoch + 1) / 3 if epoch else 0.0
            residual = p - ((1 - weight) * onehot + weight * p)
            weights = [weights[0] - 0.5 * features.T @ residual / 12, weights[1] - 0.5 * residual.mean(0)]
        np.testing.assert_allclose(model.get_weights()[0], weights[0], atol=1e-5)


@ON_TORCH
def test_source_model_leaves_no_state_and_is_reusable():
    x, y = problem()
    model = linear()
    model.fit(x["features"], y, verbose=0)
    before = sorted(vars(model)), len(model.variables), len(model.metrics_variables)
    callback = ProgressiveSelfDistillation(source="model")
    for _ in range(2):
        model.fit(x["features"], y, epochs=2, verbose=0, callbacks=[callback])
    assert (sorted(vars(model)), len(model.variables), len(model.metrics_variables)) == before
    with pytest.raises(ValueError, match="nothing to read"):
        _ = callback.memory
    other = keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, "relu"), keras.layers.Dense(5)])
    other.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = other.fit(
        x["features"], y, epochs=2, verbose=0, callbacks=[callback]
    )  # The callback copies the other model.
    assert history.history["self_distillation"][0] == 0.0 != history.history["self_distillation"][1]


@NOT_ON_JAX
@pytest.mark.parametrize("source", ["memory", "model"])
def test_self_distillation_uses_one_id_per_sequence(source):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3, 6)).astype("float32"), rng.integers(0, 5, (8, 3))
    model = keras.Sequential([keras.Input((3, 6), name="words"), keras.layers.Dense(5)])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    weights = [w.astype("float64") for w in model.get_weights()]
    callback = ProgressiveSelfDistillation(8, 5, 0.5, source=source)
    model.fit(with_sample_ids(model, x), y, 8, 2, verbose=0, callbacks=[callback])
    past = None
    for _ in range(2):
        logits = x @ weights[0] + weights[1]
        p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        if past is None:
            target, past = np.eye(5)[y], p
        else:  # The memory holds predictions from before the last update. The frozen model contains this update.
            target = 0.5 * np.eye(5)[y] + 0.5 * (past if source == "memory" else p)
        residual = (p - target) / 24
        weights = [
            weights[0] - 0.5 * np.einsum("btf,btc->fc", x, residual),
            weights[1] - 0.5 * residual.sum((0, 1)),
        ]
    np.testing.assert_allclose(model.get_weights()[0], weights[0], atol=1e-5)


@ON_TORCH
def test_self_distillation_trains_one_output_of_several():
    inputs = keras.Input((36,), name="row")
    kind = keras.layers.Dense(5, use_bias=False, name="kind")
    model = keras.Model(inputs, {"kind": kind(inputs), "amount": keras.layers.Dense(1, name="amount")(inputs)})
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), {"kind": cross_entropy, "amount": "mse"}, {"kind": 2.0, "amount": 1.0})
    kind.set_weights([LOGITS])
    callback = ProgressiveSelfDistillation(12, 5, output="kind", epochs=3)
    for epoch in range(3):
        x = with_sample_ids(model, ROWS[PIECE[epoch]]) | {"sample_id": IDS[PIECE[epoch]].astype("int32")}
        y = {"kind": LABELS[PIECE[epoch]], "amount": np.zeros((12, 1), "float32")}
        model.fit(x, y, 4, epoch + 1, initial_epoch=epoch, shuffle=False, verbose=0, callbacks=[callback])
    gradients = (LOGITS - kind.get_weights()[0]).reshape(9, 4, 5) / 2
    np.testing.assert_allclose(gradients, GOLDEN["pskd/aT0.8_T3/grad"], atol=1e-6)


@ON_TORCH
def test_self_distillation_composes_with_early_learning():
    x, y = problem()

    def weights(callbacks):
        model = linear()
        model.set_weights([np.zeros((6, 5)), np.zeros(5)])
        data = with_sample_ids(model, x["features"])
        history = model.fit(data, y, 4, 2, shuffle=False, verbose=0, callbacks=callbacks)
        return model.get_weights()[0], history.history

    both, history = weights([EarlyLearningRegularization(12, 5), ProgressiveSelfDistillation(12, 5)])
    swapped, _ = weights([ProgressiveSelfDistillation(12, 5), EarlyLearningRegularization(12, 5)])
    alone, _ = weights([EarlyLearningRegularization(12, 5)])
    assert {"early_learning", "self_distillation", "loss"} == set(history)
    np.testing.assert_allclose(both, swapped, atol=1e-6)
    assert not np.allclose(both, alone, atol=1e-4)


@ON_TORCH
@pytest.mark.parametrize("source", ["memory", "model"])
def test_self_distillation_resumes_exactly_with_backup_and_restore(tmp_path, source):
    def run(epochs, backup=True):
        keras.utils.set_random_seed(0)
        model = linear()
        callback = ProgressiveSelfDistillation(12, 5, epochs=4, source=source)
        restore = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        callbacks = [restore, callback] if backup else [callback]
        x = with_sample_ids(model, problem()[0]["features"])
        model.fit(x, problem()[1], 4, epochs, verbose=0, shuffle=False, callbacks=callbacks)
        return model.get_weights()[0]

    unbroken = run(4, backup=False)
    run(2)
    np.testing.assert_array_equal(run(4), unbroken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "disk"}, r"Received: source='disk'"),
        ({"num_samples": None}, r"needs `num_samples` and `num_classes`.*Received: num_samples=None"),
        ({"num_classes": 1}, r"Received: num_classes=1"),
        ({"final_weight": 1.2}, r"Received: final_weight=1.2"),
        ({"final_weight": float("nan")}, r"Received: final_weight=nan"),
        ({"final_weight": True}, r"Received: final_weight=True"),
        ({"schedule": "cosine"}, r"Received: schedule='cosine'"),
        ({"epochs": 0}, r"Received: epochs=0"),
        ({"source": "model", "check_ids": True}, r"Received: check_ids=True"),
    ],
)
def test_self_distillation_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ProgressiveSelfDistillation(**{"num_samples": 12, "num_classes": 5, **arguments})


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mse", r"works on categorical cross-entropy.*Received: loss="),
        (keras.losses.BinaryCrossentropy(), r"two outputs\. Received: loss="),
        (keras.losses.SparseCategoricalCrossentropy(ignore_class=0), r"without `ignore_class`.*Received"),
        (
            keras.losses.SparseCategoricalCrossentropy(reduction="sum"),
            r"mean over the batch.*Received: reduction='sum'",
        ),
        (
            keras.losses.CategoricalCrossentropy(reduction="mean_with_sample_weight"),
            r"mean over the batch.*Received: reduction='mean_with_sample_weight'",
        ),
    ],
)
def test_self_distillation_rejects_losses_without_soft_labels(loss, message):
    x, y = problem()
    model = linear(compiled=False)
    model.compile("sgd", loss)
    y = y if "sparse" in str(loss) else np.eye(5, dtype="float32")[y]
    with pytest.raises(ValueError, match=message):
        model.fit(x["features"], y, epochs=2, verbose=0, callbacks=[ProgressiveSelfDistillation(source="model")])


def test_self_distillation_rejects_unsuitable_models_and_trainings():
    x, y = problem()
    model = linear()
    data = with_sample_ids(model, x["features"])
    with pytest.raises(ValueError, match=r"Received: predictions of shape .*5\) with num_classes=7"):
        model.fit(data, y, epochs=2, verbose=0, callbacks=[ProgressiveSelfDistillation(12, 7, source="model")])
    with pytest.raises(ValueError, match=r"after the last epoch.*Received: epochs=2"):
        model.fit(data, y, epochs=3, verbose=0, callbacks=[ProgressiveSelfDistillation(12, 5, epochs=2)])
    with pytest.raises(ValueError, match="`x` has no 'sample_id'"):
        model.fit(x["features"], y, epochs=2, verbose=0, callbacks=[ProgressiveSelfDistillation(12, 5)])


def test_self_distillation_warns_of_no_effect():
    x, y = problem()
    model = linear()
    with pytest.warns(keras_reg.NoEffectWarning, match="single epoch"):
        model.fit(x["features"], y, epochs=1, verbose=0, callbacks=[ProgressiveSelfDistillation(source="model")])
    callback = ProgressiveSelfDistillation(source="model", final_weight=0.0)
    with pytest.warns(keras_reg.NoEffectWarning, match="final weight of 0"):
        model.fit(x["features"], y, epochs=2, verbose=0, callbacks=[callback])
