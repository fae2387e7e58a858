"""Tests of the three methods of the page "Write your own", with a smaller last batch."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg.data import with_sample_ids
from tests.support.models import linear, problem

PAGE = (pathlib.Path(__file__).parents[2] / "docs" / "writing_callbacks.md").read_text()
# Only the classes are executed, without the calls of `fit` that follow them.
BLOCKS = [block.split("\n\n\n")[0] for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)]
SAMPLES, CLASSES, BATCH = 12, 5, 5
WEIGHTS = np.random.default_rng(5).uniform(0.5, 1.5, SAMPLES).astype("float32")


@pytest.fixture(scope="module")
def methods() -> dict:
    namespace = {"keras": keras, "keras_reg": keras_reg, "np": np}
    for block in BLOCKS:
        exec(block, namespace)
    return namespace


def train(callback, epochs=3, rate=0.0, **arguments):
    """Returns the logs, and the probabilities for all samples before each epoch. The last batch has two samples."""
    x, y = problem()
    features, labels = x["features"][:SAMPLES], y[:SAMPLES]
    keras.utils.set_random_seed(0)
    model = linear()
    model.optimizer.learning_rate = rate
    seen = []
    notes = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: seen.append(keras.ops.convert_to_numpy(keras.ops.softmax(model(features))))
    )
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "epochs": epochs, **arguments}
    logs = model.fit(with_sample_ids(model, features), labels, callbacks=[notes, callback], **arguments).history
    return logs, np.array(seen), labels


def test_scheduled_penalty_has_the_weight_of_each_epoch(methods, compile_modes):
    logs, (p, *_), _ = train(methods["ScheduledConfidencePenalty"](strength=0.5, ramp_epochs=2))
    negative_entropy = (p * np.log(p)).sum(-1).mean()
    expected = [0.25 * negative_entropy, 0.5 * negative_entropy, 0.5 * negative_entropy]
    np.testing.assert_allclose(logs["confidence_penalty"], expected, rtol=1e-5)


def test_small_loss_selection_trains_on_the_smallest_losses(methods, compile_modes):
    logs, (p, *_), labels = train(
        methods["SmallLossSelection"](forget_rate=0.5, ramp_epochs=1), epochs=2, sample_weight=WEIGHTS
    )
    losses = -np.log(p[np.arange(SAMPLES), labels])

    def expected(keep: float) -> float:
        total = 0.0
        for start in range(0, SAMPLES, BATCH):
            rows = slice(start, start + BATCH)
            own, weights = losses[rows], WEIGHTS[rows]
            kept = np.argsort(np.argsort(own)) < keep * len(own)
            total += (own * weights * kept / keep).sum()
        return total / SAMPLES

    np.testing.assert_allclose(logs["loss"], [expected(1.0), expected(0.5)], rtol=1e-5)


def test_samples_of_weight_zero_have_no_gradient(methods):
    """Checks that only the selected samples change the weights. The features of the others do not matter."""
    x, y = problem()
    changes = []
    for scale in (1.0, 3.0):
        model = linear()
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        features = x["features"][:4].copy()
        features[2:] *= scale

        class FirstTwo(keras_reg.training.ObjectiveCallback):
            def rewrite_sample_weight(self, batch):
                return keras.ops.convert_to_tensor(np.float32([1, 1, 0, 0]))

        model.fit(features, y[:4], batch_size=4, shuffle=False, verbose=0, callbacks=[FirstTwo()])
        changes.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_allclose(changes[0], changes[1], atol=1e-7)
    assert np.abs(changes[0]).max() > 0.01


def test_temporal_ensembling_is_zero_while_predictions_stay(methods, compile_modes):
    """Checks the bias correction: from the second epoch on, the average of equal predictions equals them."""
    callback = methods["TemporalEnsembling"](SAMPLES, CLASSES, weight=2.0, momentum=0.6, ramp=2)
    logs, _, _ = train(callback)
    np.testing.assert_allclose(logs["temporal_ensembling"], np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(callback.memory.numpy().sum(-1), np.full(SAMPLES, 1 - 0.6**3), rtol=1e-5)


def test_temporal_ensembling_pulls_towards_average_of_earlier_epochs(methods):
    callback = methods["TemporalEnsembling"](SAMPLES, CLASSES, weight=2.0, momentum=0.6, ramp=1)
    logs, seen, _ = train(callback, epochs=3, rate=0.5, batch_size=SAMPLES)
    first, second, third = seen
    average = 0.6 * 0.4 * first + 0.4 * second
    expected = [
        0.0,
        2.0 * np.square(second - first).mean(),
        2.0 * np.square(third - average / (1 - 0.6**2)).mean(),
    ]
    np.testing.assert_allclose(logs["temporal_ensembling"], expected, rtol=1e-3, atol=1e-7)
    assert logs["temporal_ensembling"][1] > 1e-5
    np.testing.assert_allclose(callback.memory.numpy(), 0.6 * average + 0.4 * third, atol=1e-5)


def test_memory_works_in_every_hook_of_the_step(compile_modes):
    """Reads the memory in every hook. Reading `Callback.model` while JAX traces a step would fail."""
    widths = []

    class Reads(keras_reg.training.PerSampleCallback):
        term_names = ("zero",)
        follows_steps = True

        def create_memory(self, model, num_samples):
            return self.row_storage.create(num_samples, CLASSES, "rows")

        def read(self, x):
            ids = x["sample_id"]
            widths.append(self.memory.read(keras.ops.reshape(ids, (-1,)))[0].shape[1])

        def rewrite_targets(self, batch):
            self.read(batch.x)
            return super().rewrite_targets(batch)

        def rewrite_sample_weight(self, batch):
            self.read(batch.x)
            return batch.sample_weight

        def change_batch(self, data):
            self.read(keras.utils.unpack_x_y_sample_weight(data)[0])
            return data

        def after_step(self, data):
            self.read(keras.utils.unpack_x_y_sample_weight(data)[0])

        def terms(self, batch):
            ids, y_pred, weight = self.select(batch)
            self.memory.write(ids, keras.ops.cast(y_pred, "float32"))
            return {"zero": (0.0 * keras.ops.sum(y_pred, axis=-1), weight)}

    callback = Reads(SAMPLES)
    train(callback)
    assert set(widths) == {CLASSES}
    assert not callback.in_step
    assert callback.memory.numpy().any(axis=1).all()


def test_scalar_keeps_value_in_checkpoints_and_rejects_other_values(tmp_path):
    scalar = keras_reg.training.Scalar("weight", 0.25)
    assert float(keras.ops.convert_to_numpy(scalar.value)) == 0.25
    for wrong in ("a", True, None, float("nan")):
        with pytest.raises(ValueError, match="`value` must be a number that is finite in float32"):
            scalar.set(wrong)
        with pytest.raises(ValueError, match="`value` must be a number that is finite in float32"):
            keras_reg.training.Scalar("weight", wrong)
    scalar.set(-2)
    assert float(keras.ops.convert_to_numpy(scalar.value)) == -2.0


def test_scalar_changes_without_retracing(methods, monkeypatch):
    traces = []

    class Counts(methods["ScheduledConfidencePenalty"]):
        def terms(self, batch):
            traces.append(self)
            return super().terms(batch)

    train(Counts(ramp_epochs=5), epochs=5, batch_size=SAMPLES)
    assert len(traces) <= (5 if keras.backend.backend() == "torch" else 2)


def test_hook_may_compute_the_loss_again(methods):
    """Checks that computing the loss inside a hook does not mark that hook as outside the step."""

    class ComputesAgain(methods["TemporalEnsembling"]):
        follows_steps = True

        def after_step(self, data):
            x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
            model = self.trained
            model.compute_loss(x=x, y=y, y_pred=model(x, training=True), sample_weight=weight)
            assert self.in_step
            self.memory.read(keras.ops.reshape(x["sample_id"], (-1,)))

        def check_model(self, model):
            self.trained = model

    callback = ComputesAgain(SAMPLES, CLASSES)
    train(callback, epochs=1)
    assert not callback.in_step


@pytest.mark.parametrize("value", [np.float32(0.5), np.array(0.5), np.array([0.5]), 0.5])
def test_scalar_accepts_numbers_of_arrays_and_tensors(value):
    scalar = keras_reg.training.Scalar("weight")
    scalar.set(value)
    assert float(keras.ops.convert_to_numpy(scalar.value)) == 0.5
    scalar.set(keras.ops.convert_to_tensor(value) * 2)
    assert float(keras.ops.convert_to_numpy(scalar.value)) == 1.0


@pytest.mark.parametrize("value", [1e39, 10**400, np.array([1.0, 2.0]), [1.0], "1"])
def test_scalar_rejects_other_values(value):
    scalar = keras_reg.training.Scalar("weight", 0.25)
    with pytest.raises(ValueError, match="`value` must be a number that is finite in float32"):
        scalar.set(value)
    assert float(keras.ops.convert_to_numpy(scalar.value)) == 0.25
