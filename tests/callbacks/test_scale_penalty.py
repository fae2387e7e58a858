"""Tests of Polarization and SparsityMask in `fit`: golden gradients, limits of the scales, the mask, bad input."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_reg
from keras_reg import NoEffectWarning
from keras_reg.callbacks import Polarization, SparsityMask
from tests.support.golden import GOLDEN
from tests.support.tiers import ON_TORCH

RATE = 0.1


def zero_loss(y, p):
    """Returns a loss without a gradient, so that only the penalty changes weights."""
    return 0.0 * ops.sum(p, axis=-1)


def model_with(*scales, freeze=False, **arguments) -> keras.Model:
    """Returns a regression model whose batch normalizations have these scales."""
    keras.utils.set_random_seed(3)
    parts = [keras.Input((6,))]
    for index, scale in enumerate(scales):
        initial = keras.initializers.Constant(scale)
        normalization = layers.BatchNormalization(gamma_initializer=initial, name=f"norm{index}", **arguments)
        parts += [layers.Dense(len(scale), trainable=not freeze), normalization]
    model = keras.Sequential([*parts, layers.Dense(1, trainable=not freeze)])
    model.compile(keras.optimizers.SGD(RATE), "mse")
    return model


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(16, 6)).astype("float32"), rng.normal(size=(16, 1)).astype("float32")


def scales_of(model) -> list[np.ndarray]:
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return [np.array(ops.convert_to_numpy(layer.gamma)) for layer in normalizations]


def fit(model, *callbacks, epochs=1, **arguments):
    return model.fit(*data(), batch_size=16, epochs=epochs, callbacks=list(callbacks), verbose=0, **arguments).history


def test_polarization_matches_golden_gradient_over_all_scales_in_fit():
    case = {name: GOLDEN[f"polarization.polarization.{name}"] for name in ("g0", "g1", "lbd", "t", "value")}
    # The shift moves all scales away from the end of their range, and keeps their order.
    start = [case["g0"] + 0.01, case["g1"] + 0.01]
    model = model_with(*start)
    model.compile(keras.optimizers.SGD(RATE), zero_loss)
    history = fit(model, Polarization(float(case["lbd"]), sparsity=float(case["t"])))
    # All scales are larger by 0.01, and distances to the mean are equal.
    extra = float(case["lbd"] * case["t"]) * 0.01 * 9
    np.testing.assert_allclose(history["polarization"], case["value"] + extra, rtol=1e-5)
    for index, scales in enumerate(scales_of(model)):
        expected = GOLDEN[f"polarization.polarization.grad{index}"].copy()
        # The golden gradient of |0| is 0, but these scales are no longer 0.
        expected[start[index] == 0.01] += float(case["lbd"] * case["t"])
        np.testing.assert_allclose((start[index] - scales) / RATE, expected, atol=2e-6)


@ON_TORCH
def test_logged_loss_includes_polarization_penalty():
    plain, polarized = model_with([0.3, 0.8]), model_with([0.3, 0.8])
    own, history = fit(plain), fit(polarized, Polarization(0.5))
    np.testing.assert_allclose(history["loss"][0], own["loss"][0] + history["polarization"][0], rtol=1e-5)
    assert "polarization" not in fit(polarized)


@ON_TORCH
def test_polarization_clips_scales_and_restores_constraints():
    own = keras.constraints.MaxNorm(100.0)
    model = model_with([0.02, 0.4, 1.9, -0.5], gamma_constraint=own)
    fit(model, Polarization(0.5, sparsity=0.0, max_scale=0.75), epochs=20)
    (scales,) = scales_of(model)
    assert scales.min() == 0.0
    assert scales.max() == 0.75
    variable = model.get_layer("norm0").gamma
    assert variable.constraint is own
    variable.assign([-1.0, 2.0, 2.0, 2.0])
    fit(model)
    assert scales_of(model)[0].min() < -0.5


@ON_TORCH
def test_polarization_strength_separates_scales_into_two_groups():
    """Checks that a larger strength leaves fewer scales between the ends, and that `small_scales` counts those at 0."""
    between = []
    for strength in (1e-6, 0.2):
        model = model_with(np.linspace(0.3, 0.7, 20), freeze=True)
        callback = Polarization(strength, sparsity=1.0)
        history = fit(model, callback, epochs=150)
        (scales,) = scales_of(model)
        between.append(np.mean((scales > 0.05) & (scales < 0.95)))
    assert between[1] <= 0.5
    assert between[0] >= 0.7
    np.testing.assert_allclose(history["small_scales"][-1], np.mean(scales <= 0.01), atol=0.06)
    assert 0.0 < callback.threshold() < 0.95


@ON_TORCH
def test_sparsity_mask_is_made_once_and_frees_unmarked_scales():
    """Checks scales that only the penalty changes, because the loss is always 0."""
    model = model_with([0.5, 0.2, -0.05, 0.9], freeze=True)
    model.get_layer("norm0").trainable = True
    model.compile(keras.optimizers.SGD(RATE), loss=zero_loss)
    callback = SparsityMask(mask_epoch=2, strength=0.5, threshold=0.12)
    history = fit(model, callback, epochs=2)
    np.testing.assert_allclose(scales_of(model)[0], [0.4, 0.1, 0.0, 0.8], atol=1e-6)  # L1 of all scales.
    assert callback.masks[0].tolist() == [1, 1, 1, 1]
    history = fit(model, callback, epochs=3, initial_epoch=2)
    assert callback.masks[0].tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(scales_of(model)[0], [0.4, 0.05, 0.0, 0.8], atol=1e-6)
    np.testing.assert_allclose(history["mask_sparsity"], [0.5 * 0.1], rtol=1e-4)
    model.get_layer("norm0").gamma.assign([0.0, 0.3, 0.3, 0.0])
    fit(model, callback, epochs=4, initial_epoch=3)
    assert callback.masks[0].tolist() == [0, 1, 1, 0]


@ON_TORCH
def test_sparsity_mask_starts_l2_at_mask_epoch():
    model = model_with([0.5, 0.1], freeze=True)
    model.get_layer("norm0").trainable = True
    model.compile(keras.optimizers.SGD(RATE), loss=zero_loss)
    callback = SparsityMask(mask_epoch=1, strength=0.5, threshold=0.12, kind="l2")
    fit(model, callback, epochs=1)
    np.testing.assert_allclose(scales_of(model)[0], [0.45, 0.05], atol=1e-6)
    fit(model, callback, epochs=2, initial_epoch=1)
    np.testing.assert_allclose(scales_of(model)[0], [0.45, 0.05 * (1 - RATE * 0.5)], atol=1e-6)


def test_sparsity_mask_warns_without_small_scales():
    with pytest.warns(NoEffectWarning, match="No scale is as small"):
        fit(model_with([0.5, 0.9]), SparsityMask(mask_epoch=0), epochs=1)


@ON_TORCH
def test_scale_penalty_selects_trainable_included_scales():
    model = model_with([0.5, 0.9], [0.5, 0.9], [0.5, 0.9], freeze=True)
    for index in (0, 1):
        model.get_layer(f"norm{index}").trainable = True
    model.get_layer("norm2").trainable = False
    model.compile(keras.optimizers.SGD(RATE), loss=zero_loss)
    fit(model, Polarization(0.1, exclude="norm0"))
    moved = [not np.allclose(scales, [0.5, 0.9]) for scales in scales_of(model)]
    assert moved == [False, True, False]
    with pytest.raises(ValueError, match=r"no batch normalization.*Received: include='norm2'"):
        fit(model, Polarization(0.1, include="norm2"))
    with pytest.raises(ValueError, match="no batch normalization"):
        fit(model_with([0.5, 0.9], scale=False), Polarization(0.1))


@ON_TORCH
@pytest.mark.parametrize(
    "patterns",
    [
        {"include": lambda layer: layer.name == "norm1"},
        {"include": [layers.BatchNormalization], "exclude": ["norm0", lambda layer: layer.name == "norm2"]},
    ],
)
def test_scale_penalty_selects_scales_by_class_and_function(patterns):
    model = model_with([0.5, 0.9], [0.5, 0.9], [0.5, 0.9], freeze=True)
    model.compile(keras.optimizers.SGD(RATE), loss=zero_loss)
    fit(model, SparsityMask(0.1, mask_epoch=9, **patterns))
    moved = [not np.allclose(scales, [0.5, 0.9]) for scales in scales_of(model)]
    assert moved == [False, True, False]


def test_polarization_threshold_raises_before_fit():
    with pytest.raises(ValueError, match="before `fit`"):
        Polarization(0.1).threshold()


def test_mask_sparsity_regularizer_takes_mask_from_each_layer():
    model = model_with([0.5, 0.005], [0.001, -0.002, 0.7])
    touched = keras_reg.apply_regularizer(model, keras_reg.regularizers.MaskSparsity(2.0), variables="gamma")
    assert len(touched) == 2
    np.testing.assert_allclose(ops.convert_to_numpy(ops.sum(ops.stack(model.losses))), 2.0 * (0.005 + 0.003), rtol=1e-5)
    again = keras.Sequential.from_config(model.get_config())
    assert again.get_layer("norm1").gamma_regularizer.mask == [1, 1, 0]
    with pytest.raises(ValueError, match=r"shape of the scale.*Received: mask=None for a scale of shape \(2,\)"):
        keras_reg.regularizers.MaskSparsity(2.0)(np.ones(2, "float32"))
    with pytest.raises(ValueError, match=r"Received: mask=\[1, 0\] for a scale of shape \(3,\)"):
        keras_reg.regularizers.MaskSparsity(2.0, mask=[1, 0])(np.ones(3, "float32"))


def test_mask_sparsity_regularizer_marks_scales_at_threshold():
    layer = model_with([0.0, 0.25, 0.5]).layers[1]
    for threshold, mask in ((0.0, [1, 0, 0]), (0.25, [1, 1, 0])):
        assert keras_reg.regularizers.MaskSparsity(threshold=threshold).for_layer(layer).mask == mask
