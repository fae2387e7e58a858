"""Tests of truncated kernels against golden numbers and SVDs, and of two layers in place of one."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops import nuclear_norm
from keras_reg.ops.low_rank import low_rank_factors, truncate_rank
from tests.support.golden import TOLERANCE
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "trained_rank_pruning.npz", allow_pickle=False)
NAMES = {"channel": "NC", "spatial": "VH", "filter": "ND"}
RANKS = {"channel": 2, "spatial": 3, "filter": [3, 3, 4, 3, 3]}


def numpy(*tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


@pytest.mark.parametrize("split", NAMES)
def test_truncate_rank_matches_golden_kernels(split, floatx):
    kernel, expected = (GOLDEN[f"trp.{NAMES[split]}.{name}"] for name in ("kernel", "new"))
    got, ranks = numpy(*truncate_rank(kernel.astype(floatx), 0.9, split))
    assert got.dtype == floatx
    np.testing.assert_allclose(got, expected, **TOLERANCE[floatx])
    np.testing.assert_array_equal(ranks, RANKS[split])


def test_truncate_rank_matches_golden_gradient_of_nuclear_loss(floatx):
    """Compares the authors' addition to the gradient with the gradient of the truncated kernel's nuclear norm."""
    truncated, _ = numpy(*truncate_rank(GOLDEN["trp.NC.kernel"].astype(floatx)))
    loss, gradient = value_and_gradient(nuclear_norm, truncated, compiled=True)
    # In float32, singular values that should be 0 are 1e-8, and 20 steps turn them to 3e-5.
    np.testing.assert_allclose(gradient, GOLDEN["trp.NC.sub"], rtol=0, atol=1e-4 if floatx == "float32" else 1e-9)
    np.testing.assert_allclose(loss, np.linalg.svd(truncated.reshape(-1, 5), compute_uv=False).sum(), rtol=1e-5)


@NOT_ON_JAX
@pytest.mark.parametrize("energy", [0.3, 0.9, 0.999999])
@pytest.mark.parametrize("shape", [(7, 4), (4, 7), (3, 2, 5), (2, 3, 4, 3, 6)])
def test_truncate_rank_returns_nearest_kernel_of_lowest_sufficient_rank(shape, energy, floatx):
    kernel = np.random.default_rng(0).normal(size=shape)
    got, rank = numpy(*truncate_rank(kernel.astype(floatx), energy))
    matrix = kernel.reshape(-1, shape[-1])
    left, sigma, right = np.linalg.svd(matrix, full_matrices=False)
    shares = np.cumsum(sigma**2) / np.sum(sigma**2)
    assert shares[rank - 1] >= energy
    assert rank == 1 or shares[rank - 2] < energy
    np.testing.assert_allclose(got.reshape(matrix.shape), left[:, :rank] * sigma[:rank] @ right[:rank], atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_truncate_rank_accepts_zeros_and_16_bit_floats(dtype):
    got, rank = truncate_rank(ops.zeros((3, 4), dtype))
    np.testing.assert_array_equal(numpy(got, rank)[0], np.zeros((3, 4)))
    assert int(rank) == 1
    assert keras.backend.standardize_dtype(got.dtype) == "float32"
    first, second = low_rank_factors(ops.zeros((3, 4), dtype))
    assert (tuple(first.shape), tuple(second.shape)) == ((3, 1), (1, 4))


def test_truncate_rank_keeps_filters_without_window():
    kernel = np.random.default_rng(0).normal(size=(1, 1, 4, 3)).astype("float32")
    got, ranks = numpy(*truncate_rank(kernel, 0.5, "filter"))
    np.testing.assert_allclose(got, kernel, rtol=1e-5)
    np.testing.assert_array_equal(ranks, [1, 1, 1])


@NOT_ON_JAX
@pytest.mark.parametrize("split", ["channel", "spatial"])
@pytest.mark.parametrize("shape", [(7, 4), (3, 2, 5), (3, 2, 4, 6), (2, 3, 2, 4, 6)])
def test_low_rank_factors_multiply_to_truncated_kernel(shape, split, floatx):
    """Checks the shapes too. The first kernel has all of the window, or its first axis, and the second has the rest."""
    kernel = np.random.default_rng(1).normal(size=shape).astype(floatx)
    truncated, rank = numpy(*truncate_rank(kernel, 0.8, split))
    first, second = numpy(*low_rank_factors(kernel, 0.8, split))
    window = shape[:-2]
    axes_of_first = len(window) if split == "channel" else min(1, len(window))
    assert first.shape == (*window[:axes_of_first], *[1] * len(window[axes_of_first:]), shape[-2], rank)
    assert second.shape == (*[1] * axes_of_first, *window[axes_of_first:], rank, shape[-1])
    product = np.einsum("...ir,...ro->...io", first, second)  # Windows of size 1 broadcast.
    np.testing.assert_allclose(product, truncated, rtol=1e-5, atol=1e-5)
    rows = first.reshape(-1, rank)
    np.testing.assert_allclose(rows.T @ rows, np.diag(np.diag(rows.T @ rows)), atol=1e-4)
    sizes = [np.linalg.norm(rows, axis=0), np.linalg.norm(np.moveaxis(second, -2, 0).reshape(rank, -1), axis=1)]
    np.testing.assert_allclose(*sizes, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"energy": 0.0}, "energy=0.0"),
        ({"energy": 1.0}, "energy=1.0"),
        ({"energy": -0.5}, "energy=-0.5"),
        ({"energy": float("nan")}, "energy=nan"),
        ({"energy": "all"}, "energy='all'"),
        ({"split": "depth"}, "split='depth'"),
        ({"kernel": np.zeros(3, "float32")}, r"shape \(3,\)"),
    ],
)
def test_low_rank_functions_reject_bad_arguments(arguments, message):
    arguments = {"kernel": np.zeros((2, 3), "float32"), **arguments}
    for function in (truncate_rank, low_rank_factors):
        with pytest.raises(ValueError, match=f"Received: .*{message}"):
            function(**arguments)


def test_low_rank_factors_rejects_filter_split():
    with pytest.raises(ValueError, match="split='filter'"):
        low_rank_factors(np.zeros((2, 3), "float32"), split="filter")
