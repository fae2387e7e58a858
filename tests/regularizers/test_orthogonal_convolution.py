"""Tests of the regularizer on layers: it reads their stride and groups, and training lowers the penalty."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg import apply_regularizer
from keras_reg.regularizers import OrthogonalConvolution
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

LAYERS = keras.layers


def compute_penalty(regularizer, kernel):
    return float(keras.ops.convert_to_numpy(regularizer(keras.ops.convert_to_tensor(kernel))))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (LAYERS.Conv1D(4, 3, strides=2), ((2,), 1, False)),
        (LAYERS.Conv2D(4, 3, strides=(2, 1), groups=2), ((2, 1), 2, False)),
        (LAYERS.Conv3D(4, 2), ((1, 1, 1), 1, False)),
        (LAYERS.Conv2DTranspose(4, 3, strides=2), ((2, 2), 1, False)),
        (LAYERS.DepthwiseConv2D(3, strides=2), ((2, 2), 1, True)),
        (LAYERS.DepthwiseConv1D(3), ((1,), 1, True)),
        (LAYERS.Dense(3), (None, 1, False)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_orthogonal_convolution_reads_settings_of_layer(layer, expected):
    regularizer = OrthogonalConvolution(0.3).for_layer(layer)
    assert (regularizer.strides, regularizer.groups, regularizer.depthwise) == expected
    assert regularizer.strength == 0.3


@pytest.mark.parametrize(
    "layer", [LAYERS.Embedding(3, 2), LAYERS.SeparableConv2D(2, 3), LAYERS.EinsumDense("ab,bc->ac", 2)]
)
def test_orthogonal_convolution_skips_other_layers(layer):
    assert OrthogonalConvolution().for_layer(layer) is None


@NOT_ON_JAX
def test_orthogonal_convolution_of_each_layer_is_applied_and_saved(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            LAYERS.Conv2D(4, 3, strides=2),
            LAYERS.DepthwiseConv2D(2),
            LAYERS.Flatten(),
            LAYERS.Dense(3),
        ]
    )
    assert len(apply_regularizer(model, OrthogonalConvolution(0.1))) == 3
    losses = [float(keras.ops.convert_to_numpy(loss)) for loss in model.losses]
    kernels = [model.layers[index].kernel for index in (0, 1, 3)]
    options = ({"strides": 2}, {"strides": 1, "depthwise": True}, {})
    expected = [compute_penalty(OrthogonalConvolution(0.1, **o), k) for o, k in zip(options, kernels, strict=True)]
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.layers[0].kernel.regularizer.strides == (2, 2)
    np.testing.assert_allclose([float(keras.ops.convert_to_numpy(v)) for v in loaded.losses], expected, rtol=1e-6)


@ON_TORCH
def test_orthogonal_convolution_trains_norm_preserving_convolution():
    layer = LAYERS.Conv2D(3, 3, padding="valid", use_bias=False)
    model = keras.Sequential([keras.Input((12, 12, 3)), layer])
    # The initial kernel is the same on every backend.
    start = np.random.default_rng(3).normal(size=(3, 3, 3, 3), scale=0.1)
    start[1, 1] += np.eye(3)
    layer.kernel.assign(start)
    assert compute_penalty(OrthogonalConvolution(1.0, strides=1), layer.kernel) > 1
    apply_regularizer(model, OrthogonalConvolution(1.0))
    model.compile(
        keras.optimizers.SGD(0.02, momentum=0.9),
        loss=lambda y_true, y_pred: 0.0 * keras.ops.sum(y_pred, axis=(1, 2, 3)),
    )
    model.fit(np.zeros((150, 12, 12, 3), "float32"), np.zeros(150), batch_size=1, verbose=0)
    assert compute_penalty(OrthogonalConvolution(1.0, strides=1), layer.kernel) < 5e-3
    x = np.random.default_rng(0).normal(size=(4, 12, 12, 3)).astype("float32")
    # The wrapped padding makes the boundaries periodic.
    padded = np.pad(x, ((0, 0), (0, 2), (0, 2), (0, 0)), mode="wrap")
    ratio = np.linalg.norm(keras.ops.convert_to_numpy(model(padded))) / np.linalg.norm(x)
    np.testing.assert_allclose(ratio, 1.0, atol=0.02)


def test_orthogonal_convolution_rejects_convolution_without_strides():
    with pytest.raises(ValueError, match="Received: strides=None"):
        OrthogonalConvolution(0.1)(keras.ops.zeros((3, 3, 2, 2)))
    assert compute_penalty(OrthogonalConvolution(0.1), np.zeros((4, 2), "float32")) == pytest.approx(0.2)
