"""Tests of mixed samples and pasted boxes against their definitions, pixel by pixel."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_reg.ops import mix_samples
from keras_reg.ops.batch_mixing import paste_boxes
from tests.support.gradients import value_and_gradient

RNG = np.random.default_rng(0)
ORDER = np.array([2, 0, 1, 3])


def test_mix_samples_returns_weighted_means_of_pairs():
    for shape in ((4,), (4, 3), (4, 2, 3, 5)):
        x = RNG.normal(size=shape).astype("float32")
        share = np.float32([0.0, 0.25, 0.7, 1.0])
        mixed = ops.convert_to_numpy(mix_samples(x, ORDER, share))
        for i in range(4):
            np.testing.assert_allclose(mixed[i], share[i] * x[i] + (1 - share[i]) * x[ORDER[i]], rtol=1e-5, atol=1e-6)


def test_mix_samples_passes_gradients_to_both_samples():
    x = RNG.normal(size=(4, 3)).astype("float32")
    share, upstream = np.float32([0.2, 0.3, 0.6, 0.9]), RNG.normal(size=(4, 3)).astype("float32")
    _, gradient = value_and_gradient(
        lambda t: ops.sum(mix_samples(t, ORDER, share) * ops.convert_to_tensor(upstream)), x
    )
    expected = share[:, None] * upstream
    for i in range(4):
        expected[ORDER[i]] += (1 - share[i]) * upstream[i]
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_paste_boxes_pastes_boxes_of_given_share():
    images = RNG.normal(size=(4, 6, 8, 3)).astype("float32")
    share = np.float32([0.0, 0.75, 0.5, 1.0])
    centers = np.float32([[0.5, 0.5], [0.5, 0.5], [0.0, 1.0], [0.3, 0.3]])
    pasted, remaining = (ops.convert_to_numpy(part) for part in paste_boxes(images, ORDER, share, centers))
    for i in range(4):
        sides = np.sqrt(1 - share[i]) / 2
        for row in range(6):
            for column in range(8):
                inside = all(
                    abs((at + 0.5) / size - center) < sides
                    for at, size, center in ((row, 6, centers[i, 0]), (column, 8, centers[i, 1]))
                )
                expected = images[ORDER[i] if inside else i, row, column]
                np.testing.assert_array_equal(pasted[i, row, column], expected)
        other = np.all(pasted[i] == images[ORDER[i]], axis=-1) if ORDER[i] != i else np.zeros((6, 8), bool)
        if ORDER[i] != i:
            np.testing.assert_allclose(remaining[i], 1 - np.mean(other), rtol=1e-6)
    np.testing.assert_allclose(remaining, [0.0, 1 - 2 * 4 / 48, 1 - 2 * 3 / 48, 1.0], rtol=1e-6)


def test_batch_mixing_keeps_type():
    x = np.ones((4, 2, 2, 1), "float16")
    assert ops.convert_to_numpy(mix_samples(x, ORDER, np.full(4, 0.5))).dtype == "float16"
    assert ops.convert_to_numpy(paste_boxes(x, ORDER, np.full(4, 0.5), np.full((4, 2), 0.5))[0]).dtype == "float16"
