"""Tests of regularizers of weights in layers and models: strength, kinds, types and effect on training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg import apply_regularizer
from keras_reg.ops import soft_orthogonality
from keras_reg.ops.soft_orthogonality import mutual_coherence, relaxed_orthogonality, spectral_isometry
from keras_reg.regularizers import GeneralizedGaussianPrior, GroupEnvelope, NuclearNorm, SoftOrthogonality
from tests.support.tiers import NOT_ON_JAX

KERNEL = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def to_number(x):
    return float(keras.ops.convert_to_numpy(x))


@pytest.mark.parametrize(
    ("arguments", "function"),
    [
        ({}, soft_orthogonality),
        ({"threshold": 2.0}, lambda w: relaxed_orthogonality(soft_orthogonality(w), 2.0)),
        ({"threshold": 2.0, "sharpness": 4.0}, lambda w: relaxed_orthogonality(soft_orthogonality(w), 2.0, 4.0)),
        ({"threshold": 0}, lambda w: relaxed_orthogonality(soft_orthogonality(w), 0.0)),
        ({"kind": "coherence"}, mutual_coherence),
        ({"kind": "spectral"}, lambda w: spectral_isometry(w, steps=8)),
    ],
)
def test_soft_orthogonality_regularizer_equals_function_of_kind(arguments, function):
    np.testing.assert_allclose(
        to_number(SoftOrthogonality(0.3, **arguments)(KERNEL)), 0.3 * to_number(function(KERNEL))
    )


REGULARIZERS = [
    SoftOrthogonality(),
    SoftOrthogonality(kind="spectral"),
    SoftOrthogonality(kind="coherence"),
    SoftOrthogonality(threshold=1.0),
    NuclearNorm(),
    GroupEnvelope(0.1, num_groups=2),
    GeneralizedGaussianPrior(shape=0.5),
]


@NOT_ON_JAX
@pytest.mark.parametrize("regularizer", REGULARIZERS, ids=lambda r: f"{type(r).__name__}{getattr(r, 'kind', '')}")
def test_weight_regularizers_accept_all_layers_and_16_bit_floats(regularizer):
    """Checks float16 weights. They can overflow in the penalty itself and not only in products of layers."""
    keras.config.set_dtype_policy("float16")
    try:
        model = keras.Sequential(
            [keras.Input((6, 6, 2)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(3)]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    for variable in model.trainable_variables:
        variable.assign(keras.ops.full(variable.shape, 30.0, "float16"))
    apply_regularizer(model, regularizer)
    assert len(model.losses) == 2
    for loss in model.losses:
        assert keras.backend.standardize_dtype(loss.dtype) == "float32"
        assert np.isfinite(to_number(loss))


def train_with_penalty_only(regularizer, steps=100, learning_rate=0.05, shape=(6, 4)):
    layer = keras.layers.Dense(shape[1], use_bias=False, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((shape[0],)), layer])
    layer.kernel.assign(np.random.default_rng(1).normal(size=shape, scale=0.5))
    model.compile(keras.optimizers.SGD(learning_rate), "mse")
    x, y = np.zeros((steps, shape[0]), "float32"), np.zeros((steps, shape[1]), "float32")
    model.fit(x, y, batch_size=1, verbose=0)
    return layer.get_weights()[0]


@pytest.mark.parametrize("arguments", [{}, {"threshold": 0.0}])
def test_soft_orthogonality_trains_singular_values_to_one(arguments):
    kernel = train_with_penalty_only(SoftOrthogonality(1.0, **arguments))
    np.testing.assert_allclose(np.linalg.svd(kernel, compute_uv=False), 1.0, atol=0.05)


def test_soft_orthogonality_threshold_keeps_near_orthogonal_kernel():
    kernel = train_with_penalty_only(SoftOrthogonality(1.0, threshold=3.0, sharpness=40.0), steps=20)
    start = np.random.default_rng(1).normal(size=(6, 4), scale=0.5)
    np.testing.assert_allclose(kernel, start, atol=1e-3)


def test_nuclear_norm_regularizer_lowers_rank():
    kernel = train_with_penalty_only(NuclearNorm(1.0), steps=100, learning_rate=0.01)
    before = np.linalg.svd(np.random.default_rng(1).normal(size=(6, 4), scale=0.5), compute_uv=False)
    after = np.linalg.svd(kernel, compute_uv=False)
    # All singular values shrink by the same amount, so the small ones reach 0.
    np.testing.assert_allclose(after, np.maximum(before - 1.0, 0.0), atol=0.02)


def test_group_envelope_regularizer_shrinks_weak_groups_more():
    kernel = train_with_penalty_only(GroupEnvelope(1.0, num_groups=2), steps=20)
    before = np.linalg.norm(np.random.default_rng(1).normal(size=(6, 4), scale=0.5), axis=0)
    kept = np.linalg.norm(kernel, axis=0) / before
    assert kept[np.argmax(before)] > kept[np.argmin(before)] + 0.1


def test_generalized_gaussian_shape_determines_weights_to_shrink():
    start = np.random.default_rng(1).normal(size=(6, 4), scale=0.5)
    small = np.abs(start) < np.median(np.abs(start))
    shrunk = {}
    for shape in (0.5, 2.0):
        prior = GeneralizedGaussianPrior(0.1, shape=shape)
        kernel = train_with_penalty_only(prior, steps=10, learning_rate=0.01)
        lost = np.abs(start) - np.abs(kernel)
        shrunk[shape] = lost[small].mean() / lost[~small].mean()
    assert shrunk[0.5] > 1.0 > shrunk[2.0]


@pytest.mark.parametrize("regularizer", [SoftOrthogonality(), NuclearNorm()])
def test_weight_regularizers_reject_bias(regularizer):
    with pytest.raises(ValueError, match=r"Received: a variable of shape \(3,\)"):
        regularizer(np.zeros(3, "float32"))


def test_group_envelope_regularizer_rejects_missing_axis():
    with pytest.raises(ValueError, match="Received: axis=2"):
        GroupEnvelope(0.1, num_groups=2, axis=2)(KERNEL)
