"""Kernels of a lower rank.

Reference:
    - [Xu et al., 2018](https://arxiv.org/abs/1812.02402): Trained Rank Pruning for Efficient Deep Neural Networks
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_reg._types import Tensor
from keras_reg._validation import check_choice, check_number
from keras_reg.ops._numerics import at_least_float32

SPLITS = ("channel", "spatial", "filter")


def truncate_rank(kernel: Tensor, energy: float = 0.9, split: str = "channel") -> tuple[Tensor, Tensor]:
    """Computes the nearest kernel of the lowest rank that keeps a share of the squared singular values.

    Args:
        kernel: Tensor. A kernel (..., inputs, outputs) of a dense layer or a convolution.
        energy: Float. The smallest share of the sum of squared singular values to keep, above 0 and below 1. Defaults
            to `0.9`.
        split: String. The matrix that represents the kernel. `"channel"`: (everything else, outputs), the paper's
            channel-wise decomposition. `"spatial"`: (inputs x first spatial axis, outputs x other spatial axes), the
            paper's spatial-wise decomposition. `"filter"`: a matrix (inputs, spatial axes) for each output. Without
            spatial axes, the first two are equal and the last changes nothing. Defaults to `"channel"`.

    Returns:
        The kernel in its shape, and its rank. With `"filter"`, the rank of each output. Zeros have the rank 1.

    Raises:
        ValueError: If an argument is out of range, or the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel = np.diag([3.0, 1.0, 0.1]).astype("float32")
    kernel, rank = truncate_rank(kernel, energy=0.95)
    int(rank)  # 2: 9 + 1 of 10.01
    ```
    """
    axes = _split_axes(kernel.shape, split)
    kernel = at_least_float32(kernel)
    left, sigma, right, ranks = _decompose(kernel, axes, energy)
    # `ops.matmul` computes in float32 on PyTorch, even if its arguments are float64.
    matrices = (left * sigma[:, None, :]) @ right
    order = [axis for part in axes for axis in part]
    truncated = ops.reshape(matrices, [kernel.shape[axis] for axis in order])
    back = sorted(range(len(order)), key=order.__getitem__)
    return ops.transpose(truncated, back), ranks if split == "filter" else ranks[0]


def low_rank_factors(kernel: Tensor, energy: float = 0.9, split: str = "channel") -> tuple[Tensor, Tensor]:
    """Computes the kernels of two consecutive layers that together apply the truncated kernel.

    The first layer maps the inputs to as many channels as the rank, and the second maps these channels to the outputs.
    For convolutions with `"channel"`, the first has the whole window and the second is pointwise. With `"spatial"`, the
    first has the first axis of the window and the second has the other axes. Each kernel is scaled by the square roots
    of the singular values.

    Args:
        kernel: Tensor. A kernel (..., inputs, outputs). Its values must be known, since the shapes of the result depend
            on them.
        energy: Float. The smallest share of the sum of squared singular values to keep. Defaults to `0.9`.
        split: String. `"channel"` or `"spatial"`, as in `truncate_rank`. Defaults to `"channel"`.

    Returns:
        Two kernels, (..., inputs, rank) and (..., rank, outputs).

    Raises:
        ValueError: If an argument is out of range, or the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel = np.ones((6, 4), "float32")
    first, second = low_rank_factors(kernel)  # (6, 1) and (1, 4)
    ```
    """
    if split == "filter":
        raise ValueError("Filters with separate ranks cannot be written as two layers. Received: split='filter'")
    _, rows, columns = _split_axes(kernel.shape, split)
    kernel = at_least_float32(kernel)
    left, sigma, right, ranks = _decompose(kernel, ([], rows, columns), energy)
    rank, root = int(ranks[0]), ops.sqrt(sigma[0])
    first = ops.reshape((left[0] * root)[:, :rank], (*[kernel.shape[axis] for axis in rows], rank))
    second = ops.reshape((root[:, None] * right[0])[:rank], (rank, *[kernel.shape[axis] for axis in columns]))
    ones = (1,) * (len(kernel.shape) - 2)
    if split == "channel":
        return first, ops.reshape(second, (*ones, *second.shape))
    window, rest = kernel.shape[: len(rows) - 1], kernel.shape[len(rows) - 1 : -2]
    first = ops.reshape(ops.moveaxis(first, 0, -2), (*window, *[1] * len(rest), kernel.shape[-2], rank))
    second = ops.moveaxis(second, (0, 1), (-2, -1))
    return first, ops.reshape(second, (*[1] * len(window), *rest, rank, kernel.shape[-1]))


def check_energy(energy: Any) -> float:
    """Checks that a share is above 0 and below 1, and returns it.

    Raises:
        ValueError: If the value is something else.
    """
    return check_number("energy", energy, above=0.0, below=1.0)


def check_split(split: Any, splits: tuple[str, ...] = SPLITS) -> str:
    """Checks the name of a split, and returns it.

    Raises:
        ValueError: If the value is something else.
    """
    return check_choice("split", split, splits)


def full_rank(shape: tuple[int, ...], split: str = "channel") -> int:
    """Returns the largest rank that a kernel of a shape, or one of its filters, can have."""
    _, *sides = _split_axes(shape, split)
    return min(math.prod(shape[axis] for axis in side) for side in sides)


def _split_axes(shape: tuple[int, ...], split: str) -> tuple[list[int], list[int], list[int]]:
    """Returns the batch axes of the matrices, the axes of their rows, and the axes of their columns."""
    check_split(split)
    spatial = len(shape) - 2
    if spatial < 0:
        raise ValueError(f"The kernel must have two dimensions or more. Received: a kernel of shape {tuple(shape)}")
    inputs, outputs = spatial, spatial + 1
    if split == "channel":
        return [], [*range(spatial), inputs], [outputs]
    if split == "spatial":
        return [], [inputs, *range(min(spatial, 1))], [outputs, *range(1, spatial)]
    return [outputs], [inputs], [*range(spatial)]


def _decompose(kernel: Tensor, axes: tuple[list[int], ...], energy: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the singular vectors and values of the kernel's matrices, with 0 beyond the rank, and the ranks."""
    energy = check_energy(energy)
    shape = [math.prod(kernel.shape[axis] for axis in part) for part in axes]
    matrices = ops.reshape(ops.transpose(kernel, [axis for part in axes for axis in part]), shape)
    left, sigma, right = ops.svd(matrices, full_matrices=False)
    kept = ops.cumsum(ops.square(sigma), axis=-1)
    # This is the first rank that reaches the share. For zeros it is 1.
    ranks = 1 + ops.sum(ops.cast(kept < energy * kept[:, -1:], "int32"), axis=-1)
    places = ops.arange(sigma.shape[-1], dtype="int32")
    return left, ops.where(places < ranks[:, None], sigma, ops.zeros_like(sigma)), right, ranks
