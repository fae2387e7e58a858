"""Tests of the loss: it accepts all forms of labels, rejects bad input, and learns where softmax has collapsed."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.losses import StableMaxCrossentropy
from keras_reg.ops import log_stablemax
from tests.support.tiers import NOT_ON_JAX

RNG = np.random.default_rng(0)
numpy = keras.ops.convert_to_numpy


@NOT_ON_JAX
@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_stablemax_crossentropy_accepts_sparse_and_one_hot_labels(shape):
    labels, logits = RNG.integers(0, 4, 6), RNG.normal(size=(6, 4)).astype("float32")
    expected = -numpy(log_stablemax(logits))[np.arange(6), labels]
    sparse = StableMaxCrossentropy(reduction=None)(labels.reshape(shape), logits)
    np.testing.assert_allclose(numpy(sparse), expected, rtol=1e-6)
    one_hot = StableMaxCrossentropy(sparse=False, reduction=None)(np.eye(4)[labels], logits)
    np.testing.assert_allclose(numpy(one_hot), expected, rtol=1e-6)
    assert float(StableMaxCrossentropy()(labels, logits)) == pytest.approx(expected.mean())
    weights = np.array([0, 1, 2, 0, 1, 0], "float32")
    weighted = float(StableMaxCrossentropy()(labels, logits, weights))
    assert weighted == pytest.approx(np.sum(weights * expected) / 6, rel=1e-5)


@NOT_ON_JAX
@pytest.mark.parametrize("length", [3, 1])
def test_stablemax_crossentropy_accepts_sequences(length):
    labels, logits = RNG.integers(0, 4, (2, length)), RNG.normal(size=(2, length, 4)).astype("float32")
    loss = numpy(StableMaxCrossentropy(reduction=None)(labels, logits))
    expected = -np.take_along_axis(numpy(log_stablemax(logits)), labels[..., None], -1)[..., 0]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("sparse", "labels", "logits"),
    [
        (True, (6, 4), (6, 4)),
        (False, (6,), (6, 4)),
        (False, (6, 3), (6, 4)),
        (True, (6,), (6,)),
        (True, (6, 2), (6, 4)),
    ],
)
def test_stablemax_crossentropy_rejects_unequal_shapes(sparse, labels, logits):
    with pytest.raises(ValueError, match=r"Received: labels of shape"):
        StableMaxCrossentropy(sparse=sparse)(np.zeros(labels), np.zeros(logits, "float32"))


def test_stablemax_crossentropy_ignores_class_out_of_range():
    logits = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(numpy(StableMaxCrossentropy(reduction=None)(np.array([-1, 3]), logits)), [0, 0])


@pytest.mark.parametrize("loss", [StableMaxCrossentropy(), "softmax"])
def test_stablemax_crossentropy_trains_after_softmax_collapse(loss, compile_modes):
    """Trains with logits that are 40 apart, where only StableMax has a gradient for the logit of the label."""
    softmax = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for mode in compile_modes:
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2, use_bias=False)])
        model.set_weights([np.array([[20.0, -20.0]], "float32")])
        model.compile(keras.optimizers.SGD(1.0), softmax if loss == "softmax" else loss, **mode)
        model.fit(np.ones((4, 1), "float32"), np.zeros(4, "int32"), verbose=0)
        moved = model.get_weights()[0][0, 0] - 20.0
        assert (moved == 0.0) if loss == "softmax" else (moved > 1e-5)
