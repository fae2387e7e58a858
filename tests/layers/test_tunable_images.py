"""Tests of augmentation in the compiled step: each image against NumPy, and factors that change."""

from __future__ import annotations

import colorsys

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg import layers
from keras_reg.ops.images import (
    cut_squares,
    scale_brightness,
    scale_contrast,
    scale_saturation,
    shear_matrix,
    transform_images,
    turn_hue,
)
from keras_reg.tune import Float, Int, set_hyperparameters
from keras_reg.tune._override import override_values
from tests.support.gradients import value_and_gradient
from tests.support.lowered import only_what_accelerators_run
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

IMAGES = np.random.default_rng(0).uniform(size=(6, 7, 5, 3)).astype("float32")
AMOUNTS = np.linspace(-0.9, 0.9, 6).astype("float32")
GRAY = (IMAGES * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
FACTORS = 1 + AMOUNTS.reshape(-1, 1, 1, 1)


def to_numpy(tensor):
    return ops.convert_to_numpy(tensor)


def make_factor(init, high):
    return Float("factor", init, low=0.0, high=high)


LAYERS = {
    "Brightness": lambda **k: layers.TunableBrightness(make_factor(0.4, 1.0), seed=1, **k),
    "Contrast": lambda **k: layers.TunableContrast(make_factor(0.4, 1.0), seed=1, **k),
    "Saturation": lambda **k: layers.TunableSaturation(make_factor(0.4, 1.0), seed=1, **k),
    "Hue": lambda **k: layers.TunableHue(make_factor(0.25, 0.5), seed=1, **k),
    "Translation": lambda **k: layers.TunableTranslation(make_factor(0.4, 1.0), seed=1, **k),
    "Scale": lambda **k: layers.TunableScale(make_factor(0.4, 0.9), seed=1, **k),
    "Shear": lambda **k: layers.TunableShear(make_factor(20.0, 60.0), seed=1, **k),
    "Cutout": lambda **k: layers.TunableCutout(Int("factor", 3, 0, 5), Int("count", 2, 0, 3), seed=1, **k),
}
COLORS = ("Brightness", "Contrast", "Saturation", "Hue")


def test_color_functions_match_numpy():
    expected = {
        scale_brightness: IMAGES * FACTORS,
        scale_contrast: GRAY.mean((1, 2, 3), keepdims=True) * (1 - FACTORS) + IMAGES * FACTORS,
        scale_saturation: GRAY * (1 - FACTORS) + IMAGES * FACTORS,
    }
    for function, images in expected.items():
        np.testing.assert_allclose(to_numpy(function(IMAGES, AMOUNTS)), np.clip(images, 0, 1), rtol=1e-5, atol=1e-5)


@ON_TORCH
def test_turn_hue_matches_colorsys():
    images = IMAGES.copy()
    images[0, 0, :3] = [[0, 0, 0], [0.5, 0.5, 0.5], [1, 0, 0]]
    expected = np.empty_like(images)
    for index in np.ndindex(*images.shape[:-1]):
        hue, saturation, value = colorsys.rgb_to_hsv(*images[index].tolist())
        expected[index] = colorsys.hsv_to_rgb((hue + float(AMOUNTS[index[0]])) % 1.0, saturation, value)
    np.testing.assert_allclose(to_numpy(turn_hue(images, AMOUNTS)), expected, rtol=1e-4, atol=1e-5)
    _, gradient = value_and_gradient(lambda x: ops.sum(turn_hue(x, AMOUNTS)), images, compiled=True)
    assert np.all(np.isfinite(gradient)), "the hue of a gray pixel is undefined"


def interpolate(image, matrix, shift, fill):
    """Transforms an image pixel by pixel."""
    height, width, _ = image.shape
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            middle = np.array([(height - 1) / 2, (width - 1) / 2])
            source = matrix @ (np.array([y, x]) - middle) + shift + middle
            corner = np.floor(source).astype(int)
            for down in (0, 1):
                for right in (0, 1):
                    row, column = corner + np.array([down, right])
                    weight = np.prod(1 - np.abs(source - [row, column]))
                    inside = 0 <= row < height and 0 <= column < width
                    result[y, x] += weight * (image[row, column] if inside else fill)
    return result


@NOT_ON_JAX
def test_image_transformations_match_numpy():
    rng = np.random.default_rng(1)
    matrices = (np.eye(2) + rng.normal(size=(6, 2, 2)) * 0.3).astype("float32")
    shifts = rng.normal(size=(6, 2)).astype("float32")
    matrices[0], shifts[0] = np.eye(2), 0
    got = to_numpy(transform_images(IMAGES, matrices, shifts, 0.5))
    np.testing.assert_allclose(got[0], IMAGES[0], atol=1e-6)
    expected = [interpolate(*arguments, 0.5) for arguments in zip(IMAGES, matrices, shifts, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@NOT_ON_JAX
def test_shear_matrix_shifts_rows_sideways():
    angles = np.float32([0.0, 45.0, -30.0])
    matrices = to_numpy(shear_matrix(angles))
    for matrix, angle in zip(matrices, angles, strict=True):
        np.testing.assert_allclose(matrix, [[1, 0], [np.tan(np.radians(angle)), 1]], atol=1e-6)
    # The shear turns a column in the middle into a diagonal, which is on the right in the upper half.
    line = np.zeros((1, 5, 5, 1), "float32")
    line[:, :, 2] = 1
    got = to_numpy(transform_images(line, matrices[1:2], np.zeros((1, 2), "float32")))
    np.testing.assert_allclose(got[0, ..., 0], np.eye(5)[::-1], atol=1e-5)


@NOT_ON_JAX
def test_cut_squares_fills_squares():
    centers = np.float32([[[0.5, 0.5], [0.0, 0.0]]] * 4)
    images = np.ones((4, 8, 6, 2), "float32")
    got = to_numpy(cut_squares(images, centers, np.float32([2, 3, 0, 4]), np.float32([1, 1, 2, 2]), 0.25))
    expected = images.copy()
    expected[0, 3:5, 2:4] = 0.25
    expected[1, 3:6, 2:5] = 0.25
    expected[3, 2:6, 1:5] = 0.25
    expected[3, 0:2, 0:2] = 0.25
    np.testing.assert_array_equal(got, expected)


@NOT_ON_JAX
@pytest.mark.parametrize("name", LAYERS)
def test_tunable_image_layers_draw_amount_for_each_image(name):
    layer = LAYERS[name]()
    out = to_numpy(layer(IMAGES, training=True))
    assert out.shape == IMAGES.shape
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(out, IMAGES, strict=True))
    np.testing.assert_array_equal(to_numpy(layer(IMAGES)), IMAGES)
    # Copies of one image differ after the layer only because each has its own amount.
    copies = to_numpy(layer(np.repeat(IMAGES[:1], 6, 0), training=True))
    assert all(np.abs(image - copies[0]).max() > 1e-4 for image in copies[1:])
    factors = np.zeros(6, "float32")
    factors[4] = {"Cutout": 5, "Shear": 20}.get(name, 0.4)
    with override_values({"factor": ops.convert_to_tensor(factors)}):
        out = to_numpy(layer(IMAGES, training=True))
    changed = np.abs(out - IMAGES).max((1, 2, 3))
    assert changed[4] > 1e-3
    assert np.delete(changed, 4).max() < 1e-5


@NOT_ON_JAX
def test_tunable_image_layers_draw_uniform_amounts_up_to_factor():
    """Reads the amounts from the brightness of a gray image, and from the translation and scale of a slope."""
    layer = layers.TunableBrightness(make_factor(0.4, 1.0), seed=1)
    amounts = to_numpy(layer(np.full((2000, 1, 1, 1), 0.5, "float32"), training=True)).ravel() / 0.5 - 1
    np.testing.assert_allclose(np.quantile(amounts, [0.0, 0.25, 0.5, 0.75, 1.0]), [-0.4, -0.2, 0, 0.2, 0.4], atol=0.03)
    slope = np.broadcast_to(np.arange(21, dtype="float32")[:, None], (500, 21, 11))
    slope = np.stack([slope, np.broadcast_to(np.arange(11, dtype="float32"), (500, 21, 11))], -1)
    moved = to_numpy(layers.TunableTranslation(make_factor(0.2, 1.0), seed=1)(slope, training=True))[:, 10, 5]
    for moves, size in zip((moved - [10, 5]).T, (21, 11), strict=True):
        np.testing.assert_allclose(np.quantile(moves / size, [0.0, 0.5, 1.0]), [-0.2, 0, 0.2], atol=0.03)
    zoomed = to_numpy(layers.TunableScale(make_factor(0.2, 0.9), seed=1)(slope, training=True))
    factors = zoomed[:, 14, 5, 0] - 10
    np.testing.assert_allclose(factors, zoomed[:, 10, 9, 1] - 5, rtol=1e-4)
    np.testing.assert_allclose(np.quantile(factors / 4, [0.0, 0.5, 1.0]), [0.8, 1.0, 1.2], atol=0.03)


@NOT_ON_JAX
@pytest.mark.parametrize("name", COLORS)
def test_tunable_image_layers_keep_colors_in_value_range(name):
    wide, unit = LAYERS[name](value_range=(-1.0, 3.0)), LAYERS[name]()
    got = to_numpy(wide(4 * IMAGES - 1, training=True))
    np.testing.assert_allclose((got + 1) / 4, to_numpy(unit(IMAGES, training=True)), atol=1e-5)
    assert got.min() >= -1
    assert got.max() <= 3


@NOT_ON_JAX
def test_tunable_cutout_uses_set_count_and_length():
    length, count = Int("length", 3, 0, 9), Int("count", 1, 0, 4)
    layer = layers.TunableCutout(length, count, fill_value=-1.0, seed=1)
    images = np.zeros((200, 30, 30, 1), "float32")
    for side, number in ((3, 1), (5, 1), (0, 1), (3, 0), (3, 4)):
        length.set(side)
        count.set(number)
        cut = (to_numpy(layer(images, training=True)) == -1).sum((1, 2, 3))
        assert cut.max() <= number * side**2
        assert np.median(cut) >= 0.6 * number * side**2


def test_tunable_image_layers_train_in_one_trace(compile_modes):
    """Trains with all layers on images of any size. Factors of 0 leave the images unchanged."""
    x, y = IMAGES, np.zeros((6, 3), "float32")
    for mode in compile_modes:
        stack = [make() for make in LAYERS.values()]
        model = keras.Sequential([keras.Input((None, None, 3)), *stack, keras.layers.GlobalAveragePooling2D()])
        model.add(keras.layers.Dense(3, use_bias=False, kernel_initializer="identity"))
        model.compile(keras.optimizers.SGD(0.0), "mse", **mode)
        plain = np.mean(np.square(x.mean((1, 2))))
        with only_what_accelerators_run(mode.get("jit_compile", False)):
            (loss,) = model.fit(x, y, verbose=0).history["loss"]
        assert abs(loss - plain) > 1e-3, mode
        function = model.train_function
        set_hyperparameters(model, {"factor": 0, "count": 0})
        assert model.fit(x, y, verbose=0).history["loss"] == pytest.approx([plain], rel=1e-4), mode
        assert model.train_function is function


@NOT_ON_JAX
@pytest.mark.parametrize("name", LAYERS)
def test_tunable_image_layers_keep_type_in_mixed_precision(name):
    layer = LAYERS[name](dtype="mixed_bfloat16")
    out = layer(IMAGES, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    np.testing.assert_allclose(
        to_numpy(ops.cast(out, "float32")), to_numpy(LAYERS[name]()(IMAGES, training=True)), atol=0.05
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LAYERS["Hue"]()(IMAGES[..., :1], training=True), r"with 3 channels.*Received: inputs of shape \(6, 7"),
        (lambda: LAYERS["Scale"]()(IMAGES[0], training=True), r"needs images.*Received: inputs of shape \(7, 5, 3\)"),
        (lambda: LAYERS["Shear"]()(IMAGES.astype("int32"), training=True), r"works on floats.*Received:"),
    ],
)
def test_tunable_image_layers_reject_inputs_other_than_images(make, message):
    with pytest.raises(ValueError, match=message):
        make()
