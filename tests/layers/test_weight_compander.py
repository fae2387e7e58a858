"""Tests of `WeightCompander`: golden penalties, overflow, learned scales and constraints."""

from __future__ import annotations

import pathlib
import warnings

import keras
import numpy as np
import pytest

from keras_reg.layers import WeightCompander
from tests.support.tiers import NOT_ON_JAX
from tests.support.wrapped import (
    ROWS,
    TOKENS,
    HalfSquares,
    L,
    SumOfProducts,
    array,
    effective,
    normal,
    step_differences,
)

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "weight_compander.npz", allow_pickle=False)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def make_golden_layer(**arguments):
    """Returns a layer with the golden parameters as kernel, of shape (1, 55)."""
    regularizer = arguments.pop("kernel_regularizer", None)
    layer = WeightCompander(L.Dense(55, use_bias=False, kernel_regularizer=regularizer), **arguments)
    layer.build((None, 1))
    layer.layer.kernel.assign(GOLDEN["v"][None])
    return layer


@pytest.mark.parametrize("learnable", [False, True])
def test_weight_compander_layer_matches_golden_loss_and_gradients(learnable, compile_modes):
    """Compares the gradients of <upstream, w> with respect to v, and to a and b if these are learned."""
    for pair in (2, 10):  # With these pairs, a step of SGD(1) moves neither a nor b to the floor.
        a, b = (float(scale) for scale in GOLDEN["ab"][pair])
        upstream = GOLDEN["upstream"][pair][None].astype("float32")
        for mode in compile_modes:
            layer = make_golden_layer(a=a, b=b, learnable=learnable)
            x = np.ones((1, 1), "float32")
            np.testing.assert_allclose(array(layer(x))[0], GOLDEN["psi"][pair], **CLOSE)
            target = GOLDEN["psi"][pair].astype("float32") - upstream
            loss, gradient = step_differences(layer, HalfSquares(), x, target, **mode)
            assert loss == pytest.approx(0.5 * np.sum(upstream**2), rel=1e-4)
            np.testing.assert_allclose(gradient["kernel"][0], GOLDEN["grad_v"][pair], **CLOSE)
            assert set(gradient) == ({"kernel", "kernel_a", "kernel_b"} if learnable else {"kernel"})
            if learnable:
                np.testing.assert_allclose(gradient["kernel_a"], GOLDEN["grad_a"][pair], **CLOSE)
                np.testing.assert_allclose(gradient["kernel_b"], GOLDEN["grad_b"][pair], **CLOSE)


@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("decay_on", ["auto", "weight", "parameter"])
def test_weight_compander_layer_matches_golden_penalties(decay_on, learnable):
    """Checks that by default the penalty acts on the weight for fixed scales, and on the parameter for learned ones."""
    on_weight = decay_on == "weight" or (decay_on == "auto" and not learnable)
    strength = 1000 * float(GOLDEN["lam"])  # Large enough to be visible in a difference of float32 numbers.
    x = np.zeros((1, 1), "float32")
    for pair in (3, 6):
        a, b = (float(scale) for scale in GOLDEN["ab"][pair])
        regularizer = keras.regularizers.L2(strength)
        layer = make_golden_layer(a=a, b=b, learnable=learnable, decay_on=decay_on, kernel_regularizer=regularizer)
        loss, gradient = step_differences(layer, SumOfProducts(), x, np.zeros((1, 55), "float32"))
        name = "pen_on_w" if on_weight else "pen_on_v"
        assert loss == pytest.approx(1000 * GOLDEN[name][pair], rel=1e-5)
        np.testing.assert_allclose(gradient["kernel"][0], 1000 * GOLDEN[f"grad_{name}_dv"][pair], rtol=1e-4, atol=1e-4)
        if learnable and not on_weight:
            assert gradient["kernel_a"] == gradient["kernel_b"] == 0


@pytest.mark.parametrize("function", ["arctan", "erf", "asinh"])
def test_weight_compander_functions_begin_with_plain_forward_pass(function):
    plain = L.Dense(4, kernel_initializer=keras.initializers.RandomUniform(-0.4, 0.4, seed=1))
    expected = array(plain(ROWS))
    for layer in (plain, L.Dense(4, kernel_initializer=keras.initializers.RandomUniform(-0.4, 0.4, seed=1))):
        layer = WeightCompander(layer, a=0.6, b=0.9, function=function)
        np.testing.assert_allclose(array(layer(ROWS)), expected, rtol=1e-4, atol=1e-5)


def make_large_layer(built, value=1.0):
    layer = L.Dense(4, kernel_initializer=keras.initializers.RandomUniform(-value, value, seed=3))
    if built:
        layer.build((None, 5))
    return layer


@pytest.mark.parametrize("built", [False, True])
def test_weight_compander_rejects_or_clips_weights_beyond_bound(built):
    with pytest.raises(
        ValueError,
        match=r"reach the bound 0.7854 .*, or nearly reach it. a=0.\d+ is large enough.*clip.* Received: a=0.5",
    ):
        WeightCompander(make_large_layer(built), a=0.5)(ROWS)
    layer = WeightCompander(make_large_layer(built), a=0.5, overflow="clip")
    with pytest.warns(UserWarning, match="clipped to 0.99 of the bound"):
        layer(ROWS)
    bound = 0.99 * 0.5 * np.pi / 2
    kernel = array(make_large_layer(True).kernel)
    assert np.abs(kernel).max() > bound
    np.testing.assert_allclose(effective(layer)[0], np.clip(kernel, -bound, bound), rtol=1e-4)
    layer = WeightCompander(make_large_layer(built), a=0.5, function="asinh")  # This function has no bound.
    layer(ROWS)
    np.testing.assert_allclose(effective(layer)[0], kernel, rtol=1e-4, atol=1e-5)


def test_weight_compander_restores_initializers_after_refused_build():
    plain = make_large_layer(False)
    initializer = plain.kernel_initializer
    with pytest.raises(ValueError, match="reach the bound"):
        WeightCompander(plain, a=0.5)(ROWS)
    assert plain.kernel_initializer is initializer


def test_weight_compander_clips_no_weight_silently():
    """Rejects weights between 99 % of the bound and the bound, but accepts weights that were clipped before."""
    bound, plain = 0.7 * np.pi / 2, make_large_layer(True)
    plain.kernel.assign(np.full((5, 4), 0.995 * bound))
    with pytest.raises(ValueError, match="nearly reach it"):
        WeightCompander(plain)(ROWS)
    plain.kernel.assign(np.full((5, 4), 0.99 * bound))
    layer = WeightCompander(plain)
    layer(ROWS)
    again = WeightCompander(layer.fold())
    again(ROWS)
    np.testing.assert_allclose(effective(again)[0], 0.99 * bound, rtol=1e-5)


def test_weight_compander_rejects_nonfinite_weights_when_clipping():
    layer = make_large_layer(True)
    layer.kernel.assign(np.full((5, 4), np.nan))
    with pytest.raises(ValueError, match="nan"):
        WeightCompander(layer, overflow="clip")(ROWS)


def test_weight_compander_model_loads_with_any_random_initial_values(tmp_path):
    layer = make_large_layer(True, 0.3)
    model = keras.Sequential([keras.Input((5,)), WeightCompander(layer, a=0.5)])
    layer_config = model.layers[0].layer.kernel_initializer
    layer_config.minval, layer_config.maxval = -3.0, 3.0
    model.save(tmp_path / "model.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(ROWS)), array(model(ROWS)))


def test_weight_compander_learned_scales_stay_positive(compile_modes):
    """Trains with gradients that would make the scales negative."""
    x = np.ones((4, 5), "float32")
    for mode in compile_modes:
        layer = WeightCompander(make_large_layer(False, 0.3), learnable=True)
        model = keras.Sequential([keras.Input((5,)), layer])
        model.compile(keras.optimizers.SGD(100.0), SumOfProducts(), **mode)
        smallest = np.inf
        for sign in (1, -1, 1, -1):
            model.train_on_batch(x, np.full((4, 4), sign, "float32"))
            scales = np.array([array(scale) for scale in layer.scales(layer.kernels[0])])
            assert np.all(scales >= np.float32(0.05))
            assert np.all(np.isfinite(scales))
            smallest = min(smallest, scales.min())
        assert smallest == np.float32(0.05)


@NOT_ON_JAX
@pytest.mark.parametrize("learnable", [False, True])
def test_weight_compander_applies_kernel_constraint_to_weight(learnable):
    plain = L.Dense(4, kernel_constraint=keras.constraints.MaxNorm(0.5))
    layer = WeightCompander(plain, learnable=learnable)
    step_differences(layer, SumOfProducts(), ROWS, normal(6, 4))
    norms = np.sqrt((effective(layer)[0] ** 2).sum(0))
    assert np.all(norms < 0.5001)  # Learned scales may have changed after the constraint was applied.
    assert learnable or norms.max() == pytest.approx(0.5, rel=1e-4)
    layer = WeightCompander(L.Embedding(6, 4, embeddings_constraint="non_neg"))
    model = keras.Sequential([keras.Input((4,), dtype="int32"), layer])
    model.compile(keras.optimizers.SGD(1.0), SumOfProducts())
    model.train_on_batch(TOKENS, normal(3, 4, 4))
    assert effective(layer)[0].min() == 0


@NOT_ON_JAX
def test_weight_compander_has_scales_for_each_kernel():
    layer = WeightCompander(L.LSTM(3), learnable=True)
    layer(normal(2, 4, 5))
    names = sorted(v.name for v in layer.trainable_variables)
    assert names == sorted(
        ["kernel", "recurrent_kernel", "bias"] + [f"{k}_{s}" for k in get_kernel_names(layer) for s in "ab"]
    )


def get_kernel_names(layer):
    assert [kernel.name for kernel in layer.kernels] == ["kernel", "recurrent_kernel"]
    return [kernel.name for kernel in layer.kernels]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"a": 0.0}, "`a` must be a finite number above 0 or a `keras_reg.tune.Float`. Received: a=0.0"),
        ({"b": -1}, "`b` must be"),
        ({"a": True}, "`a` must be"),
        ({"b": np.inf}, "`b` must be"),
        ({"a": 0.01, "learnable": True}, "0.05"),
        ({"learnable": 1}, "learnable=1"),
        ({"function": "tanh"}, "arctan.*Received: function='tanh'"),
        ({"decay_on": "w"}, "decay_on='w'"),
        ({"overflow": "wrap"}, "overflow='wrap'"),
    ],
)
def test_weight_compander_rejects_wrong_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        WeightCompander(L.Dense(2), **arguments)
