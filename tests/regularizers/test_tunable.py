"""Tests of L1 and L2 with strengths that change."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

import keras_reg
from keras_reg.regularizers import TunableL1, TunableL2
from keras_reg.tune import Float, hyperparameters, set_hyperparameters
from keras_reg.tune._override import override_values
from tests.support.golden import assert_matches
from tests.support.gradients import value_and_gradient

KERNEL = np.array([[0.5, -1.25, 0.0], [2.0, -0.75, 0.1]])
# These values were computed by hand.
GOLDEN = {
    "kernel": KERNEL,
    "l1.loss": 4.6,
    "l1.gradient": np.array([[1.0, -1.0, 0.0], [1.0, -1.0, 1.0]]),
    "l2.loss": 6.385,
    "l2.gradient": np.array([[1.0, -2.5, 0.0], [4.0, -1.5, 0.2]]),
}


def to_numpy(tensor):
    return ops.convert_to_numpy(tensor)


def make_decay(value):
    return Float("decay", value, low=0.0, log=True)


@pytest.mark.parametrize(("cls", "name"), [(TunableL1, "l1"), (TunableL2, "l2")])
def test_tunable_l1_l2_match_golden_loss_and_gradient(cls, name, floatx):
    """Checks value and gradient for several values of the strength."""
    regularizer = cls(make_decay(0.25))
    for strength in (0.25, 1.5, 0.0):
        regularizer.strength.set(strength)
        loss, gradient = strength * GOLDEN[f"{name}.loss"], strength * GOLDEN[f"{name}.gradient"]
        assert_matches(regularizer, GOLDEN["kernel"], loss, gradient, floatx)


def test_tunable_l1_l2_gradient_at_zero_is_zero():
    for cls in (TunableL1, TunableL2):
        _, gradient = value_and_gradient(cls(make_decay(1.0)), np.zeros((2, 3), "float32"), compiled=True)
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(("cls", "name"), [(TunableL1, "l1"), (TunableL2, "l2")])
def test_tunable_l1_l2_average_perturbed_strengths_of_samples(cls, name):
    with override_values({"decay": ops.convert_to_tensor(np.float32([0.1, 0.3, 0.8]))}):
        got = to_numpy(cls(make_decay(1.0))(KERNEL.astype("float32")))
    assert got == pytest.approx(0.4 * GOLDEN[f"{name}.loss"], rel=1e-5)


def test_tunable_l2_does_not_overflow_in_half_precision():
    kernel = np.full((300, 300), 60.0, "float16")
    assert to_numpy(TunableL2(make_decay(1e-3))(kernel)) == pytest.approx(1e-3 * 3600 * 90000, rel=1e-3)


def test_tunable_l2_shares_strength_between_layers():
    decay = make_decay(0.5)
    dense = [keras.layers.Dense(2, kernel_regularizer=TunableL2(decay)) for _ in range(2)]
    model = keras.Sequential([keras.Input((3,)), *dense])
    assert hyperparameters(model) == {"decay": [decay]}
    for value in (0.5, 0.0, 2.0):
        decay.set(value)
        expected = value * sum(np.sum(np.square(to_numpy(layer.kernel))) for layer in dense)
        assert float(to_numpy(sum(model.losses))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("strength", "says"),
    [
        (0.1, r"`strength` must be a `keras_reg.tune.Float`. Received: strength=0.1"),
        (Float("decay", 0.1), r"`low` of at least 0. Received: strength=.*low=None"),
        (Float("decay", 0.1, low=-1.0), r"Received: strength=.*low=-1.0"),
    ],
)
def test_tunable_l1_l2_reject_bad_strengths(strength, says):
    for cls in (TunableL1, TunableL2):
        with pytest.raises(ValueError, match=says):
            cls(strength)


def test_tunable_l2_is_applied_to_and_saved_with_built_model(tmp_path):
    """Checks that `apply_regularizer` takes effect before and after a `fit`, and that the model is saved."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="ones", use_bias=False)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.ones((4, 3), "float32"), np.full((4, 1), 3.0, "float32")
    model.fit(x, y, verbose=0)
    keras_reg.apply_regularizer(model, TunableL2(make_decay(0.5)))
    for value in (0.5, 1.0, 0.25):
        set_hyperparameters(model, {"decay": value})
        assert model.fit(x, y, verbose=0).history["loss"] == pytest.approx([3 * value])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert hyperparameters(loaded)["decay"][0].value == 0.25
    assert loaded.fit(x, y, verbose=0).history["loss"] == pytest.approx([0.75])
