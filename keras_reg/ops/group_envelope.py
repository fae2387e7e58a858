"""Group sparsity with a number of groups: Refael, Arbel, Huleihel, group envelope regularization (arXiv 2212.12921).

The function 1/2 sum_j d_j ||w_j||^2 for weights with at most k groups w_j that are not zero, and infinity for others,
says what is wanted and cannot be trained with. Its envelope, the largest convex function below it, can. Both functions
here have the form of shares u_j between 0 and 1, which sum to k: how much of a group is let through.
"""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.ops._numerics import at_least_float32, square_root


def group_envelope(weights: Any, num_groups: int, axis: int = -1, factors: Any = 1.0) -> Any:
    """The envelope 1/2 sum_j d_j ||w_j||^2 / u_j, with the shares 0 < u_j <= 1, sum u_j <= k, that make it smallest.

    With at least as many groups let through as are not zero, all u_j are 1: half the squared norm. With k = 1 it is
    1/2 (sum_j sqrt(d_j) ||w_j||)^2.

    Args:
        weights: Weights. Each index along `axis` is a group.
        num_groups: k, the number of groups to keep.
        axis: The axis of the groups; -1 are the units of a `Dense` layer, the filters of a convolution.
        factors: d, one number above 0 for all groups, or one for each.

    Returns:
        The penalty, a scalar. Its gradient is d_j w_j / u_j, and 0 for groups that are 0.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    float(group_envelope(np.float32([[3.0, 4.0]]), num_groups=1))  # 24.5, half the square of 3 + 4
    ```
    """
    weights = at_least_float32(weights)
    squares, factors = _squared_norms(weights, axis, factors)
    norms = square_root(ops.stop_gradient(factors * squares))
    shares = _shares(norms, ops.zeros_like(norms), num_groups)
    # A group of zeros has no share, and adds nothing whatever its share.
    return 0.5 * ops.sum(factors * squares / ops.where(shares > 0, shares, ops.ones_like(shares)))


def proximal_group_envelope(weights: Any, num_groups: int, strength: float, axis: int = -1, factors: Any = 1.0) -> Any:
    """The proximal step of the envelope: argmin_x of strength * envelope(x) + 1/2 ||x - weights||^2.

    Each group is multiplied by u_j / (u_j + strength d_j); weak groups have the share u_j = 0. A few shares can be
    fractions, so that more than k groups may remain.

    Args:
        weights: Weights. Each index along `axis` is a group.
        num_groups: k, the number of groups to keep.
        strength: The factor of the envelope; times the learning rate, where this follows a gradient step.
        axis: The axis of the groups.
        factors: d, one number above 0 for all groups, or one for each.

    Returns:
        Weights of the same shape and type.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    proximal_group_envelope(np.float32([[3.0, 1.0]]), num_groups=1, strength=1.0)  # [[1.5, 0.0]]
    ```
    """
    given = ops.convert_to_tensor(weights)
    if strength == 0.0:
        return given
    wide = at_least_float32(given)
    squares, factors = _squared_norms(wide, axis, factors)
    offsets = ops.broadcast_to(strength * factors, squares.shape)
    shares = _shares(square_root(offsets * squares), offsets, num_groups)
    return ops.cast(wide * _along(shares / (shares + offsets), wide, axis), given.dtype)


def strongest_groups(weights: Any, num_groups: int, axis: int = -1) -> Any:
    """The weights with all but the groups of the largest norms set to 0.

    Args:
        weights: Weights. Each index along `axis` is a group.
        num_groups: How many groups to keep; of equal ones, the first.
        axis: The axis of the groups.

    Returns:
        Weights of the same shape and type.

    Raises:
        ValueError: If the weights have no such axis.

    Example:

    ```python
    strongest_groups(np.float32([[3.0, 1.0, -2.0]]), num_groups=2)  # [[3.0, 0.0, -2.0]]
    ```
    """
    weights = ops.convert_to_tensor(weights)
    squares, _ = _squared_norms(at_least_float32(weights), axis, 1.0)
    if num_groups >= squares.shape[0]:
        return weights
    _, kept = ops.top_k(squares, num_groups)
    mask = ops.sum(ops.one_hot(kept, squares.shape[0], dtype=weights.dtype), axis=0)
    return weights * _along(mask, weights, axis)


def _squared_norms(weights: Any, axis: int, factors: Any) -> tuple[Any, Any]:
    """The squared norm of each group, and the factors."""
    rank = len(weights.shape)
    if not -rank <= axis < rank:
        raise ValueError(f"The weights have no such axis. Received: axis={axis} for the shape {tuple(weights.shape)}")
    others = [other for other in range(rank) if other != axis % rank]
    return ops.sum(ops.square(weights), axis=others), ops.cast(factors, weights.dtype)


def _along(values: Any, weights: Any, axis: int) -> Any:
    shape = [1] * len(weights.shape)
    shape[axis] = -1
    return ops.reshape(values, shape)


def _shares(slopes: Any, offsets: Any, total: int) -> Any:
    """The shares clip(eta slope_j - offset_j, 0, 1) whose sum is `total`; 1 for all if no more slopes are above 0."""
    slopes, offsets = ops.stop_gradient(slopes), ops.stop_gradient(offsets)
    groups = slopes.shape[0]
    positive = slopes > 0
    everything = ops.cast(positive, slopes.dtype)
    if total >= groups:
        return everything
    # Between the places where a share leaves 0 or reaches 1 the sum is linear in eta: look for the two around `total`.
    # Groups of zeros have none, and what fills the blocks up is as far away.
    dtype = keras.backend.standardize_dtype(slopes.dtype)
    largest = float(np.finfo(dtype).max)
    safe = ops.where(positive, slopes, ops.ones_like(slopes))
    bends = [ops.where(positive, share / safe, ops.full_like(safe, largest)) for share in (offsets, 1.0 + offsets)]
    width = next(width for width in itertools.count(2) if width**3 >= 2 * groups)
    bends = ops.sort(ops.concatenate([*bends, ops.full((width**3 - 2 * groups,), largest, dtype)]))
    # A block of a block of a block, each the first at whose end the sum is no longer below `total`: three steps for
    # any number of groups, where halving takes one after another, dear without a compiler.
    block, place = bends, 0
    for _ in range(3):
        block = ops.reshape(block, (width, -1))
        sums = ops.sum(ops.clip(block[:, -1:] * slopes - offsets, 0.0, 1.0), axis=1)
        first = ops.minimum(ops.sum(ops.cast(sums < total, "int32")), width - 1)
        block, place = ops.take(block, first, axis=0), width * place + first
    low, high = ops.take(bends, ops.maximum(place - 1, 0)), block[0]
    # Which shares are 1 and which are fractions is known by now, and eta follows from their sum without any error.
    middle = low + 0.5 * (high - low)
    raw = middle * slopes - offsets
    whole, fraction = ops.cast(raw >= 1.0, slopes.dtype), ops.logical_and(raw > 0.0, raw < 1.0)
    fraction = ops.cast(fraction, slopes.dtype)
    slope = ops.sum(fraction * slopes)
    exact = (total - ops.sum(whole) + ops.sum(fraction * offsets)) / ops.where(slope > 0, slope, ops.ones_like(slope))
    eta = ops.where(slope > 0, exact, middle)
    shares = ops.clip(eta * slopes - offsets, 0.0, 1.0)
    return ops.where(ops.sum(everything) > total, shares, everything)
