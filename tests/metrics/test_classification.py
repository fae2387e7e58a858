"""Tests of all metrics: labels of every form, `compile` and `fit`, precision, serialization, bad input."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.metrics import AreaUnderRiskCoverage, ExpectedCalibrationError, NegativeLogLikelihood
from tests.metrics.support import LABELS, PROBABILITIES, score
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

METRICS = [ExpectedCalibrationError, AreaUnderRiskCoverage, NegativeLogLikelihood]
LOGITS = np.log(PROBABILITIES) + np.random.default_rng(0).normal(size=(200, 1)).astype("float32")


@pytest.fixture(params=METRICS, ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


@NOT_ON_JAX
def test_metrics_accept_labels_of_every_form(cls):
    expected = score(cls(), LABELS, PROBABILITIES)
    one_hot = np.eye(5)[LABELS]
    for labels in (LABELS[:, None], LABELS.astype("float32"), LABELS.astype("int64"), one_hot, one_hot.astype("int32")):
        np.testing.assert_allclose(score(cls(), labels, PROBABILITIES), expected, rtol=1e-6)
    sequences = PROBABILITIES.reshape(50, 4, 5)
    for labels in (LABELS.reshape(50, 4), LABELS.reshape(50, 4, 1), one_hot.reshape(50, 4, 5)):
        np.testing.assert_allclose(score(cls(), labels, sequences), expected, rtol=1e-6)


@NOT_ON_JAX
def test_metrics_do_not_mistake_square_batch_for_one_hot(cls):
    expected = score(cls(), LABELS[:5], PROBABILITIES[:5])
    np.testing.assert_allclose(score(cls(), LABELS[:5, None], PROBABILITIES[:5]), expected, rtol=1e-6)


def test_metrics_do_not_mistake_square_sequences_for_one_hot(cls):
    expected = score(cls(), LABELS, PROBABILITIES)
    got = score(cls(), LABELS.reshape(40, 5), PROBABILITIES.reshape(40, 5, 5))
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_metrics_of_logits_equal_metrics_of_probabilities(cls):
    expected = score(cls(), LABELS, PROBABILITIES)
    np.testing.assert_allclose(score(cls(from_logits=True), LABELS, LOGITS), expected, rtol=1e-4)


@NOT_ON_JAX
def test_metrics_accept_sample_weights_of_every_form(cls):
    weights = np.repeat(np.random.default_rng(0).integers(0, 4, 50), 4).astype("float32")
    expected = score(cls(), LABELS, PROBABILITIES, weights)
    assert abs(expected - score(cls(), LABELS, PROBABILITIES)) > 1e-3
    np.testing.assert_allclose(score(cls(), LABELS, PROBABILITIES, weights[:, None]), expected, rtol=1e-6)
    sequences, labels = PROBABILITIES.reshape(50, 4, 5), LABELS.reshape(50, 4)
    for w in (weights.reshape(50, 4), weights[::4], weights[::4, None]):
        np.testing.assert_allclose(score(cls(), labels, sequences, w), expected, rtol=1e-6)


@NOT_ON_JAX
def test_metrics_reset_state(cls):
    metric = cls()
    first = score(metric, LABELS, PROBABILITIES)
    score(metric, LABELS[:20], PROBABILITIES[:20])
    metric.reset_state()
    assert float(ops.convert_to_numpy(metric.result())) == 0
    assert score(metric, LABELS, PROBABILITIES) == first


def test_summed_metric_states_of_replicas_equal_state_of_all_samples(cls):
    """Checks the sum of states, which is how Keras combines the metrics of replicas."""
    whole, left, right = cls(), cls(), cls()
    expected = score(whole, LABELS, PROBABILITIES)
    score(left, LABELS[:70], PROBABILITIES[:70])
    score(right, LABELS[70:], PROBABILITIES[70:])
    for variable, other in zip(left.variables, right.variables, strict=True):
        assert variable.aggregation == "sum"
        variable.assign(ops.convert_to_numpy(variable) + ops.convert_to_numpy(other))
    np.testing.assert_allclose(float(ops.convert_to_numpy(left.result())), expected, rtol=1e-6)


@NOT_ON_JAX
def test_metrics_restore_from_config(cls):
    arguments = {"from_logits": True, "name": "mine", "dtype": "float32"}
    arguments |= {} if cls is NegativeLogLikelihood else {"num_bins": 23}
    arguments |= {"excess": True} if cls is AreaUnderRiskCoverage else {}
    metric = cls(**arguments)
    assert metric.get_config() == arguments
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(twin) is cls
    assert twin.get_config() == arguments
    assert score(twin, LABELS, LOGITS) == score(metric, LABELS, LOGITS)


def make_classifier(metric, weighted=False, **arguments):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, dtype=arguments.pop("policy", None))])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.5), loss, **{"weighted_metrics" if weighted else "metrics": [metric]}, **arguments
    )
    model.layers[0].kernel.assign(np.random.default_rng(0).normal(size=(64, 10)) * 0.3)
    return model


@ON_TORCH
def test_metrics_agree_in_fit_and_evaluate_in_every_mode(cls, digits, compile_modes):
    x, y = digits
    results = []
    for mode in compile_modes:
        metric = cls(from_logits=True)
        model = make_classifier(metric, **mode)
        logs = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
        logits = model.predict(x, verbose=0)
        np.testing.assert_allclose(logs[metric.name], score(cls(from_logits=True), y, logits), rtol=1e-4)
        history = model.fit(x, y, epochs=2, batch_size=64, shuffle=False, verbose=0, validation_data=(x, y)).history
        results.append(history[metric.name] + history[f"val_{metric.name}"])
        # Training changes the metric.
        assert not np.allclose(results[-1][0], results[-1][1], rtol=1e-3)
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-3)


@ON_TORCH
def test_metrics_use_sample_weight_of_fit(cls, digits):
    x, y = digits
    weights = np.random.default_rng(0).integers(0, 4, 300).astype("float32")
    metric = cls(from_logits=True)
    model = make_classifier(metric, weighted=True)
    logs = model.evaluate(x, y, sample_weight=weights, batch_size=64, verbose=0, return_dict=True)
    expected = score(cls(from_logits=True), y, model.predict(x, verbose=0), weights)
    np.testing.assert_allclose(logs[metric.name], expected, rtol=1e-4)


@ON_TORCH
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_metrics_score_mixed_precision_in_float32(cls, digits, policy):
    x, y = digits
    metric = cls(from_logits=True)
    model = make_classifier(metric, policy=policy)
    model.fit(x, y, batch_size=64, verbose=0)
    logs = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
    half = ops.cast(model.predict(x, batch_size=64, verbose=0), policy.removeprefix("mixed_"))
    expected = score(cls(from_logits=True), y, ops.convert_to_numpy(ops.cast(half, "float32")))
    np.testing.assert_allclose(score(metric, y, half), expected, rtol=1e-6)
    # Compiled programs round 16-bit numbers differently.
    np.testing.assert_allclose(logs[metric.name], expected, atol=0.01)
    assert {variable.dtype for variable in metric.variables} == {"float32"}


@NOT_ON_JAX
def test_metric_counts_do_not_stall_with_float16_as_default(cls):
    keras.config.set_floatx("float16")
    try:
        metric = cls()
    finally:
        keras.config.set_floatx("float32")
    assert metric.dtype == "float32"
    predictions, labels = np.tile(PROBABILITIES, (30, 1)), np.tile(LABELS, 30)
    for _ in range(2):
        metric.update_state(labels, predictions)
    counts = ops.convert_to_numpy(metric.count if cls is NegativeLogLikelihood else metric.bins[:, 0])
    assert counts.sum() == 12_000


@NOT_ON_JAX
def test_metrics_return_nan_for_invalid_labels_and_predictions(cls):
    """Checks for NaN and not for an error, because a compiled step cannot raise one."""
    for label in (-1, 5):
        labels = LABELS.copy()
        labels[3] = label
        assert np.isnan(score(cls(), labels, PROBABILITIES))
        weights = np.ones(200)
        weights[3] = 0
        assert np.isfinite(score(cls(), labels, PROBABILITIES, weights))
    # Logits are passed in place of probabilities.
    assert np.isnan(score(cls(), LABELS, LOGITS))
    for metric in (cls(), cls(from_logits=True)):
        predictions = PROBABILITIES.copy()
        predictions[3, LABELS[3]] = np.nan
        assert np.isnan(score(metric, LABELS, predictions))


def test_metrics_tolerate_rounded_probabilities(cls):
    predictions = PROBABILITIES * 1.004
    assert np.isfinite(score(cls(), LABELS, predictions))


def test_metrics_reject_bad_shapes(cls):
    metric = cls()
    cases = [
        (LABELS[:4], PROBABILITIES[:5], r"`y_true` must hold integer classes.*y_true of shape \(4,\)"),
        (np.eye(4)[LABELS[:4] % 4], PROBABILITIES[:4], r"`y_true` must hold.*y_true of shape \(4, 4\)"),
        (LABELS[:4], PROBABILITIES[:4, :1], r"at least 2 classes.*two outputs.*y_pred of shape \(4, 1\)"),
        (LABELS[:4], PROBABILITIES[:4, 0], r"at least 2 classes.*y_pred of shape \(4,\)"),
    ]
    for labels, predictions, message in cases:
        with pytest.raises(ValueError, match=message):
            metric.update_state(labels, predictions)
    with pytest.raises(ValueError, match=r"`sample_weight` must have one entry.*Received: shape \(3,\)"):
        metric.update_state(LABELS[:4], PROBABILITIES[:4], np.ones(3))
    with pytest.raises(ValueError, match=r"`sample_weight` must have one entry.*Received: shape \(4, 5\)"):
        metric.update_state(LABELS[:4], PROBABILITIES[:4], np.ones((4, 5)))


def test_metrics_reject_bad_arguments(cls):
    with pytest.raises(ValueError, match=r"`from_logits` must be True or False. Received: from_logits='no'"):
        cls(from_logits="no")
    for dtype in ("float16", "bfloat16"):
        with pytest.raises(ValueError, match=r"`dtype` must be float32 or float64.*Received: dtype="):
            cls(dtype=dtype)
