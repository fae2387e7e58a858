"""Policy-gradient noise masks: Yavuz and Yang, Policy Gradient-Driven Noise Mask, arXiv 2406.14568, 2024.

A policy gives each image a grid of Beta distributions, from which a mask is drawn, enlarged, blurred and multiplied
with the image. With p the density of the cells and CE the cross-entropy of the masked images, the authors' code
descends mean_i[log sum_k p_ik] mean_i[CE_i]; the plain score-function estimator is mean_i[(CE_i - b) mean_k log p_ik]
in addition to mean_i[CE_i], with the first factor held constant.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def mask_log_concentrations(
    base: Any, outputs: Any, decay: float = 0.9, log_range: tuple[float, float] | None = None
) -> Any:
    """The logarithms of a mask's concentrations: decay * base + (1 - decay) * outputs, inside a range.

    Args:
        base: The running base, shape (parameters,) or (1, parameters).
        outputs: What the policy gave, shape (batch, parameters).
        decay: The share of the base, 0 to 1.
        log_range: The smallest and the largest value, or `None` for no limit, as in the authors' code. Outside the
            gradient is zero.

    Returns:
        The logarithms, shape (batch, parameters).

    Example:

    ```python
    mask_log_concentrations(np.array([1.0]), np.array([[2.0]]), decay=0.5)  # [[1.5]]
    ```
    """
    mixed = decay * ops.convert_to_tensor(base) + (1 - decay) * ops.convert_to_tensor(outputs)
    return mixed if log_range is None else ops.clip(mixed, *log_range)


def update_mask_base(base: Any, outputs: Any, momentum: float = 0.99) -> Any:
    """The next base: momentum * base + (1 - momentum) * mean of the outputs over the batch, without gradient.

    Args:
        base: The running base, shape (parameters,) or (1, parameters).
        outputs: What the policy gave, shape (batch, parameters).
        momentum: How much of the base is kept, 0 to 1.

    Returns:
        The next base, of the same shape.

    Example:

    ```python
    update_mask_base(np.array([1.0]), np.array([[2.0], [4.0]]), momentum=0.5)  # [2.0]
    ```
    """
    base, mean = ops.convert_to_tensor(base), ops.mean(ops.convert_to_tensor(outputs), axis=0)
    return ops.stop_gradient(momentum * base + (1 - momentum) * mean)


def expand_mask(mask: Any, shape: Sequence[int], blur_sigma: float = 6.0) -> Any:
    """Enlarges masks by repeating their nearest cells, and blurs them.

    Position i of n takes the cell floor(i cells / n), as PyTorch does and `keras.ops.image.resize` does not. The blur
    is Gaussian, over 2 round(sigma) + 1 positions of each axis, with edges reflected.

    Args:
        mask: Masks, shape (batch, *grid), with as many axes as `shape` has and one more.
        shape: The shape to enlarge to: height and width, or any other number of axes.
        blur_sigma: The standard deviation of the blur in positions; 0 for none.

    Returns:
        Masks of the shape (batch, *shape).

    Raises:
        ValueError: If the grid does not fit, or the blur reaches further than an axis is long.

    Example:

    ```python
    expand_mask(np.random.uniform(size=(2, 4, 4)), (28, 28), blur_sigma=3.0).shape  # (2, 28, 28)
    ```
    """
    mask = ops.convert_to_tensor(mask)
    check_mask_fits(tuple(mask.shape[1:]), tuple(shape), blur_sigma)
    for size in shape:
        matrix = ops.convert_to_tensor(_axis_matrix(mask.shape[1], size, blur_sigma), mask.dtype)
        # The axis is contracted and the enlarged one comes last: after all axes they are in order again.
        mask = ops.tensordot(mask, matrix, axes=[[1], [1]])
    return mask


def check_mask_fits(grid: tuple[int, ...], shape: tuple[int, ...], blur_sigma: float) -> None:
    """Raises a `ValueError` if a grid of cells cannot be enlarged to a shape and blurred."""
    if len(grid) != len(shape) or any(cells > size for cells, size in zip(grid, shape, strict=False)):
        raise ValueError(
            "A mask must have at most as many cells along each axis as the image has pixels: take a smaller `grid`. "
            f"Received: grid={grid} for images of {shape}"
        )
    if round(blur_sigma) >= min(shape):
        raise ValueError(
            f"The blur reaches {round(blur_sigma)} pixels, beyond the size of the image: take a smaller `blur_sigma`. "
            f"Received: blur_sigma={blur_sigma} for images of {shape}"
        )


@functools.lru_cache(maxsize=64)
def _axis_matrix(cells: int, size: int, sigma: float) -> Any:
    """What one axis goes through, enlarging and blur, as a matrix (size, cells): both are linear and separable."""
    nearest = np.eye(cells)[np.arange(size) * cells // size]
    reach = round(sigma)
    if reach == 0:
        return nearest
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    reflected = np.pad(np.arange(size), reach, mode="reflect")
    return np.sum([weight * nearest[reflected[k : k + size]] for k, weight in enumerate(weights)], axis=0)


def scale_gradient(values: Any, ratio: float) -> Any:
    """Leaves values as they are and multiplies their gradient, which is a learning rate of its own for plain descent.

    Args:
        values: A float tensor.
        ratio: The factor.

    Returns:
        The same values.

    Example:

    ```python
    scale_gradient(np.array([3.0]), 0.1)  # [3.0]
    ```
    """
    values = ops.convert_to_tensor(values)
    return values if ratio == 1 else ratio * values + ops.stop_gradient((1 - ratio) * values)


def score_function_term(log_prob: Any, cost: Any, baseline: Any = 0.0) -> Any:
    """The score-function (REINFORCE) term of each sample: (cost - baseline) * mean over cells of the log-density.

    Args:
        log_prob: The log-density of each cell of the masks that were drawn, shape (batch, cells).
        cost: The cost that each sample had with its mask, shape (batch,). It is a constant here.
        baseline: What costs are compared with, a scalar or shape (batch,), that does not depend on the masks.

    Returns:
        The terms, shape (batch,). Descending their mean makes masks of low cost more probable.

    Example:

    ```python
    score_function_term(np.array([[-1.0, -3.0]]), np.array([0.5]))  # [-1.0]
    ```
    """
    advantage = ops.stop_gradient(ops.convert_to_tensor(cost) - baseline)
    return advantage * ops.mean(ops.convert_to_tensor(log_prob), axis=-1)


def official_code_term(log_prob: Any, cost: Any) -> Any:
    """What to add to each sample's cost for the loss of the authors' code, mean[log sum_k p] * mean[cost].

    The first factor is a scalar of the whole batch: it multiplies the gradient of the classifier, by about log(cells).

    Args:
        log_prob: The log-density of each cell of the masks that were drawn, shape (batch, cells).
        cost: The cost that each sample had with its mask, shape (batch,), with its gradient.

    Returns:
        The terms, shape (batch,).

    Example:

    ```python
    official_code_term(np.zeros((1, 4)), np.array([0.5]))  # [0.5 * (log(4) - 1)]
    ```
    """
    factor = ops.mean(ops.logsumexp(ops.convert_to_tensor(log_prob), axis=-1))
    return (factor - 1) * ops.convert_to_tensor(cost)
