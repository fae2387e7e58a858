"""Tests of callbacks that change the objective: their inputs, their order, and that they leave nothing behind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._keras.step_functions import rebuild_step_functions
from keras_reg.callbacks import (
    EarlyLearningRegularization,
    HyperparameterSchedule,
    ProgressiveSelfDistillation,
    TunableLabelSmoothing,
)
from keras_reg.data import with_sample_ids
from keras_reg.training._outputs import loss_weight
from keras_reg.training._sample_ids import sample_ids
from keras_reg.training.callback import ObjectiveCallback
from keras_reg.training.terms import Batch
from keras_reg.tune import Float
from tests.support.models import Subclassed, linear, problem


class MeanLogit(ObjectiveCallback):
    """Adds factor * mean(sum of logits), whose gradient is known."""

    def __init__(self, factor: float, name: str = "mean_logit") -> None:
        super().__init__()
        self.factor = factor
        self.term_names = (name,)

    def terms(self, batch: Batch):
        return {self.term_names[0]: (self.factor * ops.sum(batch.y_pred, axis=1), batch.sample_weight)}


class Shift(ObjectiveCallback):
    """Rewrites the label c to c * factor + offset. Two such callbacks do not commute."""

    def __init__(self, factor: int, offset: int) -> None:
        super().__init__()
        self.factor, self.offset = factor, offset

    def rewrite_targets(self, batch: Batch):
        return batch.y * self.factor + self.offset


class Raises(keras.callbacks.Callback):
    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__()
        self.error = error
        setattr(self, hook, self.fail)

    def fail(self, *arguments):
        raise self.error


def zeroed(model):
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    return model


def fit(model, x, y, callbacks, **arguments):
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, "epochs": 1, **arguments}
    if not isinstance(model, Subclassed):
        x = with_sample_ids(model, x["features"])
    return model.fit(x, y, callbacks=callbacks, **arguments)


def own_state(model):
    return sorted(vars(model)), [m.name for m in model.metrics], len(model.metrics_variables)


def plain_weights(steps_on=None):
    x, y = problem()
    model = zeroed(linear())
    fit(model, x, y if steps_on is None else steps_on, [])
    return model.get_weights()


def test_objective_term_adds_gradient_weighted_per_sample(compile_modes):
    """Compares one step of gradient descent with dW = X^T (softmax - onehot + factor) * weight / batch."""
    x, y = problem(4)
    weight = np.array([1.0, 0.0, 2.0, 0.5], "float32")
    for mode in compile_modes:
        model = zeroed(linear(**mode))
        history = fit(model, x, y, [MeanLogit(0.3)], sample_weight=weight)
        residual = (np.full((4, 5), 0.2) - np.eye(5)[y] + 0.3) * weight[:, None] / 4
        np.testing.assert_allclose(model.get_weights()[0], -0.5 * x["features"].T @ residual, atol=1e-6)
        np.testing.assert_allclose(model.get_weights()[1], -0.5 * residual.sum(0), atol=1e-6)
        np.testing.assert_allclose(history.history["loss"], [np.log(5) * weight.sum() / 4], rtol=1e-6)


def test_class_weight_scales_loss_and_objective_term():
    x, y = problem(4)
    class_weight = {c: 1.0 + c for c in range(5)}
    model, by_sample = zeroed(linear()), zeroed(linear())
    fit(model, x, y, [MeanLogit(0.3)], class_weight=class_weight)
    fit(by_sample, x, y, [MeanLogit(0.3)], sample_weight=(1.0 + y).astype("float32"))
    np.testing.assert_allclose(model.get_weights()[0], by_sample.get_weights()[0], atol=1e-6)
    assert not np.allclose(model.get_weights()[0], plain_weights()[0], atol=1e-3)


def test_objective_term_is_in_training_logs_only():
    x, y = problem()
    model = linear(metrics=["accuracy"])
    model.set_weights([np.zeros((6, 5)), np.full(5, 0.1)])
    seen = []
    each_batch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    history = fit(model, x, y, [MeanLogit(0.0, "zero"), MeanLogit(2.0), each_batch], validation_data=(x, y), epochs=2)
    assert set(history.history) == {"accuracy", "loss", "zero", "mean_logit", "val_accuracy", "val_loss"}
    np.testing.assert_allclose(float(seen[0]["mean_logit"]), 2.0 * 5 * 0.1, rtol=1e-5)
    assert history.history["zero"] == [0.0, 0.0]
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == {"accuracy", "loss"}
    # The mean is reset in each epoch, so it covers only the batches of the second epoch.
    np.testing.assert_allclose(history.history["mean_logit"][1], float(seen[-1]["mean_logit"]), rtol=1e-6)


def test_objective_term_does_not_change_evaluation_during_training():
    x, y = problem()
    model = linear()
    results = []

    class Evaluates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            results.append(self.model.evaluate(x, y, verbose=0, return_dict=True))

    history = fit(model, x, y, [MeanLogit(5.0), Evaluates()])
    logits = x["features"] @ model.get_weights()[0] + model.get_weights()[1]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    assert set(results[-1]) == {"loss"}
    np.testing.assert_allclose(results[-1]["loss"], -log_p[np.arange(12), y].mean(), rtol=1e-5)
    assert "mean_logit" in history.history


def test_objective_callback_does_nothing_in_evaluate_and_predict():
    x, y = problem()
    model = linear()
    plain = model.evaluate(x["features"], y, verbose=0), model.predict(x["features"], verbose=0)
    before = own_state(model)
    assert model.evaluate(x["features"], y, verbose=0, callbacks=[MeanLogit(5.0)]) == plain[0]
    assert own_state(model) == before
    np.testing.assert_array_equal(model.predict(x["features"], verbose=0, callbacks=[MeanLogit(5.0)]), plain[1])
    assert own_state(model) == before


def test_objective_terms_of_two_callbacks_add_up():
    x, y = problem()
    both, one = zeroed(linear()), zeroed(linear())
    fit(both, x, y, [MeanLogit(0.1, "first"), MeanLogit(0.2, "second")])
    fit(one, x, y, [MeanLogit(0.3)])
    np.testing.assert_allclose(both.get_weights()[0], one.get_weights()[0], atol=1e-6)


def test_objective_callbacks_rewrite_targets_in_list_order():
    x, y = problem()
    y = y % 2
    model = zeroed(linear())
    fit(model, x, y, [Shift(2, 0), Shift(1, 1)])  # 2 y + 1, not 2 (y + 1)
    np.testing.assert_allclose(model.get_weights()[0], plain_weights(2 * y + 1)[0], atol=1e-6)


def test_objective_rejects_two_terms_of_equal_name():
    x, y = problem()
    model = linear()
    fit(model, x, y, [])
    before = own_state(model)
    with pytest.raises(ValueError, match=r"same name.*Received.*mean_logit"):
        fit(model, x, y, [MeanLogit(0.1), MeanLogit(0.2)])
    assert own_state(model) == before


@pytest.mark.parametrize("kind", ["sequential", "functional", "subclassed", "subclassed and built"])
def test_objective_callback_restores_model_after_fit(kind):
    x, y = problem()
    model = linear(compiled=False)
    if kind == "functional":
        model = keras.Model(model.inputs, model.outputs)
    elif kind.startswith("subclassed"):
        model = Subclassed()
        if kind.endswith("built"):
            model(x["features"])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(model, x, y, [])
    before, weights = own_state(model), model.get_weights()
    fit(model, x, y, [MeanLogit(0.3)])
    changed = model.get_weights()
    assert own_state(model) == before
    model.set_weights(weights)
    fit(model, x, y, [])
    assert not np.allclose(changed[0], model.get_weights()[0], atol=1e-3)
    model.set_weights(weights)
    fit(model, x, y, [MeanLogit(0.3)])  # The callback is active again.
    np.testing.assert_allclose(model.get_weights()[0], changed[0], atol=1e-6)


def test_second_fit_does_not_use_objective_of_first_fit(compile_modes):
    x, y = problem()
    for mode in compile_modes:
        model = zeroed(linear(**mode))
        fit(model, x, y, [MeanLogit(0.3)])
        first = model.get_weights()[0]
        fit(zeroed(model), x, y, [MeanLogit(0.9)])
        assert not np.allclose(model.get_weights()[0], first, atol=1e-2)
        fit(zeroed(model), x, y, [])
        np.testing.assert_allclose(model.get_weights()[0], plain_weights()[0], atol=1e-6)


def test_objective_calls_and_restores_user_compute_loss():
    x, y = problem()
    model = zeroed(linear())
    original = model.compute_loss

    def doubled(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2.0 * original(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)

    model.compute_loss = doubled
    fit(model, x, y, [MeanLogit(0.0)])
    reference = zeroed(linear(loss_weights=[2.0]))
    fit(reference, x, y, [])
    np.testing.assert_allclose(model.get_weights()[0], reference.get_weights()[0], atol=1e-6)
    assert model.compute_loss is doubled


def test_objective_rejects_compute_loss_without_training_argument():
    class Old(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)

    x, y = problem()
    model = Old([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"no argument `training`.*Received"):
        fit(model, x, y, [MeanLogit(0.1)])
    assert not [name for name in vars(model) if "keras_reg" in name]


class BadTerm(MeanLogit):
    def terms(self, batch: Batch):
        raise ValueError("cannot do that")


def test_failed_step_removes_objective_and_keeps_weights(compile_modes):
    x, y = problem()
    for mode in compile_modes:
        model = linear(**mode)
        fit(model, x, y, [])
        before, weights = own_state(model), model.get_weights()
        with pytest.raises(ValueError, match="cannot do that"):
            fit(model, x, y, [MeanLogit(0.1, "first"), BadTerm(0.1)])
        assert own_state(model) == before
        for now, then in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, then)
        fit(zeroed(model), x, y, [])
        np.testing.assert_allclose(model.get_weights()[0], plain_weights()[0], atol=1e-6)


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
def test_fit_after_failed_callback_has_no_objective(hook):
    x, y = problem()
    model = linear()
    with pytest.raises(KeyboardInterrupt):
        fit(model, x, y, [MeanLogit(0.3), Raises(hook, KeyboardInterrupt())])
    fit(zeroed(model), x, y, [])
    np.testing.assert_allclose(model.get_weights()[0], plain_weights()[0], atol=1e-6)
    assert not [name for name in vars(model) if "keras_reg" in name]


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_epoch_end"])
def test_objective_callbacks_restart_after_interrupted_fit(hook, tmp_path):
    """Checks that checkpoints contain the state again, and that an earlier schedule finds the hyperparameters."""
    x, y = problem()
    model = linear()
    elr = EarlyLearningRegularization(len(y), 5)
    smoothing = TunableLabelSmoothing(Float("smoothing", 0.1, low=0.0, high=0.5))
    schedule = HyperparameterSchedule({"smoothing": [0.2]})
    with pytest.raises(KeyboardInterrupt):
        fit(model, x, y, [elr, smoothing, Raises(hook, KeyboardInterrupt())])
    file = str(tmp_path / "{epoch}.weights.h5")
    history = fit(
        model, x, y, [schedule, keras.callbacks.ModelCheckpoint(file, save_weights_only=True), elr, smoothing]
    )
    assert history.history["smoothing"] == pytest.approx([0.2])
    again = EarlyLearningRegularization(len(y), 5)
    again.set_model(model)
    model.load_weights(file.format(epoch=1))
    assert again.pending_state
    again.detach()
    assert not [name for name in vars(model) if "keras_reg" in name]


class OwnTest(keras.Model):
    """Has the `test_step` of Keras's guide, which does not pass `training=False`."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5)

    def call(self, inputs):
        return self.dense(inputs["features"] if isinstance(inputs, dict) else inputs)

    def test_step(self, *arguments):
        # On JAX, `test_step` has a different signature with the state.
        x, y = arguments[-1]
        loss = self.compute_loss(y=y, y_pred=self(x, training=False))
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX uses another method")
def test_objective_treats_custom_test_step_as_evaluation():
    x, y = problem()
    model = OwnTest()
    model.compile(keras.optimizers.SGD(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.predict(x, verbose=0)
    logs = model.fit(x, y, verbose=0, validation_data=(x, y), callbacks=[MeanLogit(0.0), Constant(100.0)]).history
    assert logs["loss"][0] > 100
    assert logs["val_loss"] == pytest.approx([model.evaluate(x, y, verbose=0)], rel=1e-5)
    with pytest.raises(ValueError, match=r"Let the model's own `train_step` pass them.*Received: x=None"):
        sample_ids(None)


class Constant(MeanLogit):
    def terms(self, batch: Batch):
        return {"constant": (self.factor + 0.0 * ops.sum(batch.y_pred, axis=1), None)}

    term_names = ("constant",)

    def __init__(self, factor):
        super().__init__(factor, "constant")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """Is a schedule that cannot be serialized."""

    def __call__(self, step):
        return 0.1


def test_objective_trains_model_with_unserializable_optimizer():
    x, y = problem()
    model = linear()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(Schedule()), loss, loss_weights=[2.0])
    with pytest.raises(NotImplementedError):
        model.get_compile_config()  # If this does not raise, Keras has fixed the fault.
    rate = Float("smoothing", 0.3, low=0.0, high=0.5)
    history = fit(model, x, y, [TunableLabelSmoothing(rate)]).history
    assert loss_weight(model, None) == 2.0
    assert "label_smoothing" in history


@pytest.mark.parametrize(
    "make",
    [
        lambda: TunableLabelSmoothing(Float("rate", 0.3, low=0.0, high=0.5)),
        lambda: ProgressiveSelfDistillation(source="model"),
    ],
)
def test_objective_term_masks_padded_steps_as_compiled_loss(make):
    """Checks that the term has no gradient for padding, and that its mean is over the other steps."""
    tokens = np.tile(np.array([1, 2, 3, 0, 0, 0], "int32"), (4, 1))
    labels = np.tile(np.array([0, 1, 2, 0, 0, 0], "int32"), (4, 1))

    def trained(length):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((length,), dtype="int32", name="tokens")
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Embedding(5, 4, mask_zero=True)(inputs)))
        model.compile(keras.optimizers.SGD(1.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        before = model.get_weights()
        history = model.fit(tokens[:, :length], labels[:, :length], epochs=2, verbose=0, callbacks=[make()]).history
        return [now - then for now, then in zip(model.get_weights(), before, strict=True)], history

    (padded, with_padding), (short, without) = trained(6), trained(3)
    assert not np.any(padded[0][0])
    for mine, expected in zip(padded, short, strict=True):
        np.testing.assert_allclose(mine, expected, atol=1e-5)
    for name, values in without.items():
        assert with_padding[name] == pytest.approx(values, rel=1e-4), name


def test_evaluate_within_fit_keeps_objective_active():
    x, y = problem()
    model, term = linear(), MeanLogit(0.3)

    class Evaluates(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.evaluate(with_sample_ids(model, x["features"]), y, verbose=0, callbacks=[term])

    assert "mean_logit" in fit(model, x, y, [term, Evaluates()]).history


def test_objective_rejects_repeated_callback():
    x, y = problem()
    model, term = linear(), Shift(1, 0)
    fit(model, x, y, [])
    before = own_state(model)
    with pytest.raises(ValueError, match=r"list of a `fit` only once. Received: .*Shift"):
        fit(model, x, y, [term, term])
    assert own_state(model) == before


def test_per_sample_state_belongs_to_one_model():
    x, y = problem()
    models = linear(), linear()
    elr = EarlyLearningRegularization(len(y), 5)
    smoothing = TunableLabelSmoothing(Float("smoothing", 0.1, low=0.0, high=0.5))
    for _ in range(2):
        fit(models[0], x, y, [elr, smoothing])
    fit(models[1], x, y, [])
    before = own_state(models[1])
    with pytest.raises(ValueError, match=r"This EarlyLearningRegularization has the state of another model.*Received"):
        fit(models[1], x, y, [elr])
    assert own_state(models[1]) == before
    fit(models[1], x, y, [smoothing])  # The hyperparameter does not depend on the model.


@pytest.mark.parametrize("builds_again", [False, True])
def test_interrupted_fit_with_rebuilt_step_restores_model(builds_again):
    x, y = problem()
    model, term = linear(), MeanLogit(0.3)
    again = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: builds_again and rebuild_step_functions(model))
    fit(model, x, y, [])
    before = own_state(model)
    interrupted = []

    def check_state(read):
        interrupted.append(model)
        raise KeyboardInterrupt

    term.check_state = check_state
    with pytest.raises(KeyboardInterrupt):
        fit(model, x, y, [term, again])
    assert len(interrupted) == 1
    assert own_state(model) == before


def test_train_on_batch_in_callback_keeps_objective_active():
    x, y = problem()
    model = linear()

    class TrainsOnBatch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if keras.backend.backend() != "jax":  # On JAX, `train_on_batch` uses its own copy of the state.
                self.model.train_on_batch(x["features"][:4], y[:4])

    history = fit(model, x, y, [MeanLogit(0.3), TrainsOnBatch()], epochs=2)
    assert len(history.history["mean_logit"]) == 2


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # Keras warns without the callback too.
def test_data_of_unknown_length_keeps_objective_active():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("tf.data is how TensorFlow users meet this")
    import tensorflow as tf

    x, y = problem()
    data = tf.data.Dataset.from_generator(
        lambda: iter([(x["features"], y)]),
        output_signature=(tf.TensorSpec((12, 6)), tf.TensorSpec((12,), tf.int32)),
    )
    model = linear()
    history = model.fit(data, epochs=3, verbose=0, shuffle=False, callbacks=[MeanLogit(0.3)])
    assert len(history.history["mean_logit"]) == 3


def test_objective_terms_of_half_precision_models_are_float32():
    x, y = problem()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = keras.Sequential([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    class Large(MeanLogit):
        def terms(self, batch: Batch):
            return {"mean_logit": (1e5 + 0.0 * ops.cast(batch.y_pred[:, 0], "float32"), None)}

    history = fit(model, x, y, [Large(1.0)])  # 1e5 is infinite in float16
    np.testing.assert_allclose(history.history["mean_logit"], [1e5])


def test_objective_rejects_model_without_tracked_metrics():
    class NoMetrics(keras.Sequential):
        @property
        def metrics(self):
            return []

    x, y = problem()
    model = NoMetrics([keras.Input((6,), name="features"), keras.layers.Dense(5)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"must contain a `keras.metrics.Mean`.*Received"):
        fit(model, x, y, [MeanLogit(0.1)])
    assert not [name for name in vars(model) if "keras_reg" in name or name == "compute_loss"]
