"""Kernels of a lower rank: Xu et al., Trained Rank Pruning (arXiv 1812.02402)."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from keras_reg._validation import check_choice, check_number
from keras_reg.ops._numerics import at_least_float32

SPLITS = ("channel", "spatial", "filter")


def truncate_rank(kernel: Any, energy: float = 0.9, split: str = "channel") -> tuple[Any, Any]:
    """The nearest kernel of the lowest rank that keeps a share of the squared singular values.

    Args:
        kernel: A kernel (..., inputs, outputs), of a dense layer or a convolution.
        energy: The share of the sum of squared singular values that is kept at least, above 0 and below 1.
        split: Which matrix the kernel is. `"channel"`: (everything else, outputs), the paper's channel-wise
            decomposition; `"spatial"`: (inputs x first spatial axis, outputs x other spatial axes), its spatial-wise
            one; `"filter"`: a matrix (inputs, spatial axes) for each output. Without spatial axes the first two are the
            same, and the last changes nothing.

    Returns:
        The kernel, in its shape, and its rank; for `"filter"` the rank of each output. Zeros have the rank 1.

    Raises:
        ValueError: If an argument is out of its range, or the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel, rank = truncate_rank(np.diag([3.0, 1.0, 0.1]).astype("float32"), energy=0.95)
    int(rank)  # 2: 9 + 1 of 10.01
    ```
    """
    axes = _axes(kernel.shape, split)
    kernel = at_least_float32(kernel)
    left, sigma, right, ranks = _decompose(kernel, axes, energy)
    # Not `ops.matmul`, which is float32 with PyTorch even where its arguments are float64.
    matrices = (left * sigma[:, None, :]) @ right
    order = [axis for part in axes for axis in part]
    truncated = ops.reshape(matrices, [kernel.shape[axis] for axis in order])
    back = sorted(range(len(order)), key=order.__getitem__)
    return ops.transpose(truncated, back), ranks if split == "filter" else ranks[0]


def low_rank_factors(kernel: Any, energy: float = 0.9, split: str = "channel") -> tuple[Any, Any]:
    """The kernels of two layers that follow each other and do together what the truncated kernel does.

    The first maps inputs to as many channels as the rank, the second these to the outputs. For convolutions, the first
    has the whole window and the second is pointwise (`"channel"`), or the first has the first axis of the window and
    the second the others (`"spatial"`). Both have the same share, the square root, of the singular values.

    Args:
        kernel: A kernel (..., inputs, outputs). Its values must be known: the shapes of the result depend on them.
        energy: The share of the sum of squared singular values that is kept at least.
        split: `"channel"` or `"spatial"`, as in `truncate_rank`.

    Returns:
        Two kernels, (..., inputs, rank) and (..., rank, outputs).

    Raises:
        ValueError: If an argument is out of its range, or the kernel has fewer than two dimensions.

    Example:

    ```python
    first, second = low_rank_factors(np.ones((6, 4), "float32"))  # (6, 1) and (1, 4)
    ```
    """
    if split == "filter":
        raise ValueError("Filters of their own rank each are not two layers. Received: split='filter'")
    _, rows, columns = _axes(kernel.shape, split)
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
    """Returns a share above 0 and below 1.

    Raises:
        ValueError: If it is something else.
    """
    if check_number("energy", energy, above=0.0) >= 1:
        raise ValueError(f"`energy` must be above 0 and below 1. Received: energy={energy!r}")
    return float(energy)


def check_split(split: Any, splits: tuple[str, ...] = SPLITS) -> str:
    """Returns the name of a split.

    Raises:
        ValueError: If it is something else.
    """
    return check_choice("split", split, splits)


def full_rank(shape: tuple[int, ...], split: str = "channel") -> int:
    """The largest rank that a kernel of a shape can have, or one of its filters."""
    _, *sides = _axes(shape, split)
    return min(math.prod(shape[axis] for axis in side) for side in sides)


def _axes(shape: tuple[int, ...], split: str) -> tuple[list[int], list[int], list[int]]:
    """The axes that count matrices, those that are their rows, and those that are their columns."""
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


def _decompose(kernel: Any, axes: tuple[list[int], ...], energy: float) -> tuple[Any, Any, Any, Any]:
    """Singular vectors and values of the kernel's matrices, those beyond the rank 0, and the ranks."""
    energy = check_energy(energy)
    shape = [math.prod(kernel.shape[axis] for axis in part) for part in axes]
    matrices = ops.reshape(ops.transpose(kernel, [axis for part in axes for axis in part]), shape)
    left, sigma, right = ops.svd(matrices, full_matrices=False)
    kept = ops.cumsum(ops.square(sigma), axis=-1)
    # The rank that first reaches the share; where everything is 0 the first does.
    ranks = 1 + ops.sum(ops.cast(kept < energy * kept[:, -1:], "int32"), axis=-1)
    places = ops.arange(sigma.shape[-1], dtype="int32")
    return left, ops.where(places < ranks[:, None], sigma, ops.zeros_like(sigma)), right, ranks
