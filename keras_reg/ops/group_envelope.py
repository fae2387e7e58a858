"""Group sparsity with a limited number of groups.

The goal is a function that is 1/2 sum_j d_j ||w_j||^2 for weights with at most k nonzero groups w_j, and infinity for
other weights. This function is not suitable for training. Its envelope, the largest convex function below it, is. The
envelope and its proximal step use shares u_j between 0 and 1 that sum to k. A share is the part of a group that
remains.

Reference:
    - [Refael et al., 2022](https://arxiv.org/abs/2212.12921): Learning k-Level Structured Sparse Neural Networks Using
      Group Envelope Regularization
"""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32, square_root


def group_envelope(weights: Tensor, num_groups: int, axis: int = -1, factors: Tensor | float = 1.0) -> Tensor:
    """Computes the envelope 1/2 sum_j d_j ||w_j||^2 / u_j, with the shares u_j that minimize it.

    The shares satisfy 0 < u_j <= 1 and sum u_j <= k. If `num_groups` is at least the number of nonzero groups, all u_j
    are 1 and the envelope is half the squared norm. With k = 1, it is 1/2 (sum_j sqrt(d_j) ||w_j||)^2.

    Args:
        weights: Tensor. Weights. Each index along `axis` is a group.
        num_groups: Integer. The number k of groups to keep.
        axis: Integer. The axis of the groups. -1 means the units of a `Dense` layer and the filters of a convolution.
            Defaults to `-1`.
        factors: Float or tensor. The factors d, one number above 0 for all groups, or one for each. Defaults to `1.0`.

    Returns:
        The penalty, a scalar. Its gradient is d_j w_j / u_j, and 0 for groups that are 0.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    penalty = group_envelope(np.float32([[3.0, 4.0]]), num_groups=1)
    float(penalty)  # 24.5, half the square of 3 + 4
    ```
    """
    weights = at_least_float32(weights)
    squares, factors = _squared_norms(weights, axis, factors)
    norms = square_root(ops.stop_gradient(factors * squares))
    shares = _solve_shares(norms, ops.zeros_like(norms), num_groups)
    # A group of zeros has no share, and contributes 0 for any share.
    return 0.5 * ops.sum(factors * squares / ops.where(shares > 0, shares, ops.ones_like(shares)))


def proximal_group_envelope(
    weights: Tensor, num_groups: int, strength: float, axis: int = -1, factors: Tensor | float = 1.0
) -> Tensor:
    """Computes the proximal step of the envelope: argmin_x of strength * envelope(x) + 1/2 ||x - weights||^2.

    Each group is multiplied by u_j / (u_j + strength d_j). Weak groups have the share u_j = 0. Some shares can be
    fractions, so more than k groups may remain.

    Args:
        weights: Tensor. Weights. Each index along `axis` is a group.
        num_groups: Integer. The number k of groups to keep.
        strength: Float. The factor of the envelope. If the step follows a gradient step, the factor times the learning
            rate.
        axis: Integer. The axis of the groups. Defaults to `-1`.
        factors: Float or tensor. The factors d, one number above 0 for all groups, or one for each. Defaults to `1.0`.

    Returns:
        Weights of the same shape and type.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    weights = np.float32([[3.0, 1.0]])
    step = proximal_group_envelope(weights, num_groups=1, strength=1.0)
    step  # [[1.5, 0.0]]
    ```
    """
    original = ops.convert_to_tensor(weights)
    if strength == 0.0:
        return original
    wide = at_least_float32(original)
    squares, factors = _squared_norms(wide, axis, factors)
    offsets = ops.broadcast_to(strength * factors, squares.shape)
    shares = _solve_shares(square_root(offsets * squares), offsets, num_groups)
    return ops.cast(wide * _expand_to_axis(shares / (shares + offsets), wide, axis), original.dtype)


def strongest_groups(weights: Tensor, num_groups: int, axis: int = -1) -> Tensor:
    """Sets all groups to 0 except those of the largest norms.

    Args:
        weights: Tensor. Weights. Each index along `axis` is a group.
        num_groups: Integer. The number of groups to keep. Among groups of equal norm, the first are kept.
        axis: Integer. The axis of the groups. Defaults to `-1`.

    Returns:
        Weights of the same shape and type.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    weights = np.float32([[3.0, 1.0, -2.0]])
    strongest_groups(weights, num_groups=2)  # [[3.0, 0.0, -2.0]]
    ```
    """
    weights = ops.convert_to_tensor(weights)
    squares, _ = _squared_norms(at_least_float32(weights), axis, 1.0)
    if num_groups >= squares.shape[0]:
        return weights
    _, kept = ops.top_k(squares, num_groups)
    mask = ops.sum(ops.one_hot(kept, squares.shape[0], dtype=weights.dtype), axis=0)
    return weights * _expand_to_axis(mask, weights, axis)


def _squared_norms(weights: Tensor, axis: int, factors: Tensor | float) -> tuple[Tensor, Tensor]:
    """Returns the squared norm of each group, and the factors as a tensor."""
    rank = len(weights.shape)
    if not -rank <= axis < rank:
        raise ValueError(f"The weights have no such axis. Received: axis={axis} for the shape {tuple(weights.shape)}")
    others = [other for other in range(rank) if other != axis % rank]
    return ops.sum(ops.square(weights), axis=others), ops.cast(factors, weights.dtype)


def _expand_to_axis(values: Tensor, weights: Tensor, axis: int) -> Tensor:
    shape = [1] * len(weights.shape)
    shape[axis] = -1
    return ops.reshape(values, shape)


def _solve_shares(slopes: Tensor, offsets: Tensor, total: int) -> Tensor:
    """Returns the shares clip(eta slope_j - offset_j, 0, 1) whose sum is `total`.

    If no more than `total` slopes are above 0, the shares of these slopes are 1.
    """
    slopes, offsets = ops.stop_gradient(slopes), ops.stop_gradient(offsets)
    groups = slopes.shape[0]
    positive = slopes > 0
    everything = ops.cast(positive, slopes.dtype)
    if total >= groups:
        return everything
    # The sum is piecewise linear in eta. It bends where a share leaves 0 or reaches 1. The search below finds the two
    # bends around `total`. Groups of zeros have no bends, so theirs, like the padding of the blocks, are very large.
    dtype = keras.backend.standardize_dtype(slopes.dtype)
    largest = float(np.finfo(dtype).max)
    safe = ops.where(positive, slopes, ops.ones_like(slopes))
    bends = [ops.where(positive, share / safe, ops.full_like(safe, largest)) for share in (offsets, 1.0 + offsets)]
    width = next(width for width in itertools.count(2) if width**3 >= 2 * groups)
    bends = ops.sort(ops.concatenate([*bends, ops.full((width**3 - 2 * groups,), largest, dtype)]))
    # Each step takes the first sub-block at whose end the sum is no longer below `total`. Three steps suffice for any
    # number of groups. Bisection would take more steps, which are expensive without a compiler.
    block, place = bends, 0
    for _ in range(3):
        block = ops.reshape(block, (width, -1))
        sums = ops.sum(ops.clip(block[:, -1:] * slopes - offsets, 0.0, 1.0), axis=1)
        first = ops.minimum(ops.sum(ops.cast(sums < total, "int32")), width - 1)
        block, place = ops.take(block, first, axis=0), width * place + first
    low, high = ops.take(bends, ops.maximum(place - 1, 0)), block[0]
    # Between the two bends it is known which shares are 1 and which are fractions. Their sum gives eta exactly.
    middle = low + 0.5 * (high - low)
    raw = middle * slopes - offsets
    whole, fraction = ops.cast(raw >= 1.0, slopes.dtype), ops.logical_and(raw > 0.0, raw < 1.0)
    fraction = ops.cast(fraction, slopes.dtype)
    slope = ops.sum(fraction * slopes)
    exact = (total - ops.sum(whole) + ops.sum(fraction * offsets)) / ops.where(slope > 0, slope, ops.ones_like(slope))
    eta = ops.where(slope > 0, exact, middle)
    shares = ops.clip(eta * slopes - offsets, 0.0, 1.0)
    return ops.where(ops.sum(everything) > total, shares, everything)
