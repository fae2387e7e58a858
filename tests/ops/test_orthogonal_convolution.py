"""Tests of orthogonal convolutions against golden numbers and the dense matrix of a convolution."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from keras_reg.ops import orthogonal_convolution_penalty
from tests.support.golden import GOLDEN, TOLERANCE, assert_matches, cases
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH


@pytest.mark.parametrize(("group", "case"), [(g, c) for g in ("lorth", "lorth1d", "lorth_zero") for c in cases(g)])
def test_orthogonal_convolution_penalty_matches_golden_loss_and_gradient(group, case, floatx):
    key = f"{group}.{case}"
    kernel, stride = GOLDEN[f"{key}.kernel"], int(GOLDEN[f"{key}.stride"])
    loss = GOLDEN[f"{key}.value"]
    gradient = GOLDEN[f"{key}.grad"] if f"{key}.grad" in GOLDEN else np.zeros_like(kernel)
    assert_matches(lambda k: orthogonal_convolution_penalty(k, stride), kernel, loss, gradient, floatx)
    if f"{key}.circ_err_over_N2" in GOLDEN:
        np.testing.assert_allclose(loss, GOLDEN[f"{key}.circ_err_over_N2"], rtol=1e-9, atol=1e-9)
    if f"{key}.deellip_f32_value" in GOLDEN:  # The authors' code computes in float32.
        official = GOLDEN[f"{key}.deellip_f32_value"], GOLDEN[f"{key}.deellip_f32_grad"]
        for exact, rounded in zip((loss, gradient), official, strict=True):
            np.testing.assert_allclose(exact, rounded, rtol=2e-5, atol=2e-5 * max(1.0, np.abs(rounded).max()))


def dense_matrix(kernel, strides, size):
    """Returns the matrix of a convolution without groups and with periodic boundaries, for images of a given size."""
    *sizes, inputs, outputs = kernel.shape
    positions = list(itertools.product(*(range(n) for n in size)))
    starts = list(itertools.product(*(range(0, n, s) for n, s in zip(size, strides, strict=True))))
    matrix = np.zeros((len(starts), outputs, len(positions), inputs))
    for row, start in enumerate(starts):
        for tap in itertools.product(*(range(k) for k in sizes)):
            place = tuple((a + b) % n for a, b, n in zip(start, tap, size, strict=True))
            matrix[row, :, positions.index(place)] += kernel[tap].T
    return matrix.reshape(len(starts) * outputs, len(positions) * inputs)


def measure_matrix_error(kernel, strides, groups=1):
    """Returns the dense matrix's distance to orthogonality per output position. Groups are blocks of the matrix."""
    sizes = kernel.shape[:-2]
    size = [s * max(2, math.ceil((2 * k - 1) / s)) for k, s in zip(sizes, strides, strict=True)]
    total = 0.0
    for group in np.split(kernel, groups, axis=-1):
        matrix = dense_matrix(group, strides, size)
        rows, columns = matrix.shape
        gram = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
        total += np.sum((gram - np.eye(len(gram))) ** 2)
    return total / math.prod(n // s for n, s in zip(size, strides, strict=True))


@ON_TORCH
@pytest.mark.parametrize(
    ("shape", "strides", "groups"),
    [
        ((3, 2, 4), (1,), 1),
        ((4, 2, 5), (2,), 1),
        ((2, 3, 2, 3), (1, 1), 1),
        ((3, 2, 2, 3), (2, 1), 1),  # The strides differ by dimension.
        ((3, 4, 1, 7), (1, 2), 1),
        ((3, 3, 2, 6), (1, 1), 3),
        ((3, 3, 1, 6), (2, 2), 2),
        ((2, 2, 1, 6), (1, 1), 2),  # Each group has more outputs than inputs.
        ((2, 2, 2, 1, 2), (1, 1, 1), 1),
        ((2, 3, 1, 1, 3), (2, 1, 1), 1),
    ],
)
def test_orthogonal_convolution_penalty_equals_error_of_dense_matrix(shape, strides, groups, floatx):
    kernel = np.random.default_rng(0).normal(size=shape, scale=0.6)
    value, _ = value_and_gradient(
        lambda k: orthogonal_convolution_penalty(k, strides, groups), kernel.astype(floatx), compiled=True
    )
    np.testing.assert_allclose(value, measure_matrix_error(kernel, strides, groups), **TOLERANCE[floatx])


@ON_TORCH
@pytest.mark.parametrize("multiplier", [1, 3])
def test_orthogonal_convolution_penalty_treats_depthwise_as_groups(multiplier, floatx):
    kernel = np.random.default_rng(1).normal(size=(3, 3, 4, multiplier)).astype(floatx)
    value, _ = value_and_gradient(lambda k: orthogonal_convolution_penalty(k, 2, depthwise=True), kernel, True)
    grouped = kernel.reshape(3, 3, 1, 4 * multiplier)  # The outputs of a group are adjacent.
    expected, _ = value_and_gradient(lambda k: orthogonal_convolution_penalty(k, 2, groups=4), grouped, True)
    np.testing.assert_allclose(value, expected, **TOLERANCE[floatx])
    np.testing.assert_allclose(value, measure_matrix_error(grouped.astype("float64"), (2, 2), 4), rtol=1e-5)


def test_orthogonal_convolution_penalty_of_dense_kernel_uses_gram_matrix():
    kernel = np.random.default_rng(2).normal(size=(6, 4))
    value, _ = value_and_gradient(orthogonal_convolution_penalty, kernel.astype("float32"))
    np.testing.assert_allclose(value, np.sum((kernel.T @ kernel - np.eye(4)) ** 2), rtol=1e-5)


@NOT_ON_JAX
def test_orthogonal_convolution_penalty_accepts_zeros_and_16_bit_floats():
    value, gradient = value_and_gradient(orthogonal_convolution_penalty, np.zeros((3, 3, 2, 2), "float32"))
    assert value == 2.0
    assert not gradient.any()
    kernel = np.full((3, 3, 4, 2), 30.0, "float16")  # Float16 cannot represent its fourth power.
    value, _ = value_and_gradient(orthogonal_convolution_penalty, kernel)
    assert value.dtype == "float32"
    assert np.isfinite(value)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((3,), {}, "shape \\(3,\\)"),
        ((3, 3, 2, 4), {"groups": 3}, "groups=3"),
        ((3, 3, 2, 4), {"strides": (1,)}, "strides=\\(1,\\)"),
    ],
)
def test_orthogonal_convolution_penalty_rejects_bad_arguments(shape, arguments, message):
    with pytest.raises(ValueError, match=f"Received: .*{message}"):
        orthogonal_convolution_penalty(np.zeros(shape, "float32"), **arguments)
