"""Policy-gradient noise masks.

A policy gives each image a grid of Beta distributions. A mask is drawn from these distributions, enlarged, blurred and
multiplied with the image. Let p be the density of the cells and CE the cross-entropy of the masked images. The authors'
code minimizes mean_i[log sum_k p_ik] mean_i[CE_i]. The score-function estimator minimizes
mean_i[(CE_i - b) mean_k log p_ik] in addition to mean_i[CE_i], with the first factor held constant.

Reference:
    - [Yavuz and Yang, 2024](https://arxiv.org/abs/2406.14568): Policy Gradient-Driven Noise Mask
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from keras import ops

from keras_reg._types import Array, Tensor


def mask_log_concentrations(
    base: Tensor, outputs: Tensor, decay: float = 0.9, log_range: tuple[float, float] | None = None
) -> Tensor:
    """Computes the logarithms of a mask's concentrations: decay * base + (1 - decay) * outputs, inside a range.

    Args:
        base: Tensor. The running base, shape (parameters,) or (1, parameters).
        outputs: Tensor. The outputs of the policy, shape (batch, parameters).
        decay: Float. The share of the base, 0 to 1. Defaults to `0.9`.
        log_range: Tuple of two floats. The smallest and the largest value. The gradient is zero outside. Defaults to
            `None`, which means no limit, as in the authors' code.

    Returns:
        The logarithms, shape (batch, parameters).

    Example:

    ```python
    base, outputs = np.array([1.0]), np.array([[2.0]])
    mask_log_concentrations(base, outputs, decay=0.5)  # [[1.5]]
    ```
    """
    mixed = decay * ops.convert_to_tensor(base) + (1 - decay) * ops.convert_to_tensor(outputs)
    return mixed if log_range is None else ops.clip(mixed, *log_range)


def update_mask_base(base: Tensor, outputs: Tensor, momentum: float = 0.99) -> Tensor:
    """Computes the next base, momentum * base + (1 - momentum) * mean of the outputs over the batch, without gradient.

    Args:
        base: Tensor. The running base, shape (parameters,) or (1, parameters).
        outputs: Tensor. The outputs of the policy, shape (batch, parameters).
        momentum: Float. The share of the base that is kept, 0 to 1. Defaults to `0.99`.

    Returns:
        The next base, of the same shape.

    Example:

    ```python
    base, outputs = np.array([1.0]), np.array([[2.0], [4.0]])
    update_mask_base(base, outputs, momentum=0.5)  # [2.0]
    ```
    """
    base, mean = ops.convert_to_tensor(base), ops.mean(ops.convert_to_tensor(outputs), axis=0)
    return ops.stop_gradient(momentum * base + (1 - momentum) * mean)


def expand_mask(mask: Tensor, shape: Sequence[int], blur_sigma: float = 6.0) -> Tensor:
    """Enlarges masks by repeating their nearest cells, and blurs them.

    Position i of n takes the cell floor(i cells / n), as in PyTorch. `keras.ops.image.resize` takes other cells. The
    blur is Gaussian, over 2 round(sigma) + 1 positions of each axis, and reflects the edges.

    Args:
        mask: Tensor. Masks, shape (batch, *grid), with one axis more than `shape` has.
        shape: Tuple of integers. The shape after enlarging: height and width, or any other number of axes.
        blur_sigma: Float. The standard deviation of the blur in positions, or 0 for no blur. Defaults to `6.0`.

    Returns:
        Masks of the shape (batch, *shape).

    Raises:
        ValueError: If the grid does not fit, or the blur reaches beyond the length of an axis.

    Example:

    ```python
    mask = np.random.uniform(size=(2, 4, 4))
    expand_mask(mask, (28, 28), blur_sigma=3.0).shape  # (2, 28, 28)
    ```
    """
    mask = ops.convert_to_tensor(mask)
    check_mask_fits(tuple(mask.shape[1:]), tuple(shape), blur_sigma)
    for size in shape:
        matrix = ops.convert_to_tensor(_axis_matrix(mask.shape[1], size, blur_sigma), mask.dtype)
        # Each product contracts the first axis of the grid and appends the enlarged axis. After all products, the axes
        # are in order again.
        mask = ops.tensordot(mask, matrix, axes=[[1], [1]])
    return mask


def check_mask_fits(grid: tuple[int, ...], shape: tuple[int, ...], blur_sigma: float) -> None:
    """Raises `ValueError` if a grid of cells cannot be enlarged to a shape and blurred."""
    if len(grid) != len(shape) or any(cells > size for cells, size in zip(grid, shape, strict=False)):
        raise ValueError(
            "A mask must have at most as many cells along each axis as the image has pixels. Use a smaller `grid`. "
            f"Received: grid={grid} for images of {shape}"
        )
    if round(blur_sigma) >= min(shape):
        raise ValueError(
            f"The blur reaches {round(blur_sigma)} pixels, beyond the size of the image. Use a smaller `blur_sigma`. "
            f"Received: blur_sigma={blur_sigma} for images of {shape}"
        )


@functools.lru_cache(maxsize=64)
def _axis_matrix(cells: int, size: int, sigma: float) -> Array:
    """Returns the matrix (size, cells) that enlarges and blurs one axis. Both are linear and separable."""
    nearest = np.eye(cells)[np.arange(size) * cells // size]
    reach = round(sigma)
    if reach == 0:
        return nearest
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    reflected = np.pad(np.arange(size), reach, mode="reflect")
    matrix: Array = np.sum([weight * nearest[reflected[k : k + size]] for k, weight in enumerate(weights)], axis=0)
    return matrix


def scale_gradient(values: Tensor, ratio: float) -> Tensor:
    """Returns values unchanged and multiplies their gradient by a factor.

    For gradient descent without momentum, the factor scales the learning rate of these values.

    Args:
        values: Tensor. Floats of any shape.
        ratio: Float. The factor.

    Returns:
        The same values.

    Example:

    ```python
    scale_gradient(np.array([3.0]), 0.1)  # [3.0]
    ```
    """
    values = ops.convert_to_tensor(values)
    return values if ratio == 1 else ratio * values + ops.stop_gradient((1 - ratio) * values)


def score_function_term(log_prob: Tensor, cost: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    """Computes the score-function (REINFORCE) term of each sample.

    The term is (cost - baseline) * mean over cells of the log-density.

    Args:
        log_prob: Tensor. The log-density of each cell of the drawn masks, shape (batch, cells).
        cost: Tensor. The cost of each sample with its mask, shape (batch,). It is a constant here.
        baseline: Float or tensor. The number that is subtracted from costs, a scalar or of shape (batch,). It must not
            depend on the masks. Defaults to `0.0`.

    Returns:
        The terms, shape (batch,). Minimizing their mean makes masks of low cost more probable.

    Example:

    ```python
    log_prob, cost = np.array([[-1.0, -3.0]]), np.array([0.5])
    score_function_term(log_prob, cost)  # [-1.0]
    ```
    """
    advantage = ops.stop_gradient(ops.convert_to_tensor(cost) - baseline)
    return advantage * ops.mean(ops.convert_to_tensor(log_prob), axis=-1)


def official_code_term(log_prob: Tensor, cost: Tensor) -> Tensor:
    """Computes the term that turns the cost into the loss of the authors' code, mean[log sum_k p] * mean[cost].

    The term is added to the cost of each sample. The first factor is a scalar for the whole batch. It multiplies the
    gradient of the classifier by about log(cells).

    Args:
        log_prob: Tensor. The log-density of each cell of the drawn masks, shape (batch, cells).
        cost: Tensor. The cost of each sample with its mask, shape (batch,). Gradients flow through it.

    Returns:
        The terms, shape (batch,).

    Example:

    ```python
    log_prob, cost = np.zeros((1, 4)), np.array([0.5])
    official_code_term(log_prob, cost)  # [0.5 * (log(4) - 1)]
    ```
    """
    factor = ops.mean(ops.logsumexp(ops.convert_to_tensor(log_prob), axis=-1))
    return (factor - 1) * ops.convert_to_tensor(cost)
