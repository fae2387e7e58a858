"""Orthogonality of convolutions: Wang et al., Orthogonal Convolutional Neural Networks (arXiv 1911.12207).

The theory is from Achour, Malgouyres, Mamalet, Existence, Stability and Scalability of Orthogonal Convolutional Neural
Networks (arXiv 2108.05623). A convolution with kernel K and stride S is a large matrix. It is orthogonal, with periodic
boundaries, if and only if the kernel's products with itself, shifted by multiples of S, are those of a delta.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

from keras import ops

from keras_reg.ops._numerics import at_least_float32, distance_to_identity


def orthogonal_convolution_penalty(
    kernel: Any, strides: int | tuple[int, ...] = 1, groups: int = 1, depthwise: bool = False
) -> Any:
    """How far a convolution is from orthogonal, 0 where it is.

    With Z_l = sum_x K[x]^T K[x + l] for the shifts l that are multiples of the stride, this is
    ||Z_0 - I||^2 + sum_(l != 0) ||Z_l||^2 - max(0, M - C prod(S)), with M output and C input channels. It equals the
    squared Frobenius distance of A A^T to the identity, or of A^T A if A has more rows than columns, divided by the
    number of output positions (of A A^T), where A is the matrix of the convolution with periodic boundaries.

    Z_-l is the transpose of Z_l, so that only half of the shifts are computed. The cost does not depend on the size of
    the image. A kernel whose size is 1, or not above the stride, has only l = 0: the penalty of its matrix.

    Args:
        kernel: The kernel, (*spatial, inputs per group, outputs), or (*spatial, inputs, multiplier) if depthwise; of a
            `Dense` layer (inputs, outputs). A transposed convolution is the transposed matrix: the same penalty.
        strides: The stride, one number or one for each spatial dimension.
        groups: The number of groups, each a convolution of its own.
        depthwise: Whether each input channel is a group of its own, as in `DepthwiseConv2D`.

    Returns:
        The penalty, a scalar, of the kernel's type but at least float32.

    Raises:
        ValueError: If the strides or groups do not fit the kernel.

    Example:

    ```python
    delta = np.zeros((3, 3, 4, 4), "float32")
    delta[1, 1] = np.eye(4)  # leaves an image as it is
    float(keras_reg.ops.orthogonal_convolution_penalty(delta))  # 0.0
    ```
    """
    kernel = _grouped(at_least_float32(kernel), groups, depthwise)
    _, *sizes, inputs, outputs = kernel.shape
    stride = _per_dimension(strides, len(sizes), kernel)
    taps = {shift: _shifted_products(kernel, shift) for shift in _half_of_the_shifts(sizes, stride)}
    zero = (0,) * len(sizes)
    penalty = ops.sum(ops.square(distance_to_identity(taps.pop(zero))))
    for products in taps.values():
        penalty = penalty + 2.0 * ops.sum(ops.square(products))
    # Where there are more outputs than inputs, the rows cannot all be orthogonal; the columns are if this is left.
    return penalty - kernel.shape[0] * max(0, outputs - inputs * math.prod(stride))


def _grouped(kernel: Any, groups: int, depthwise: bool) -> Any:
    """The kernel as (groups, *spatial, inputs of a group, outputs of a group)."""
    shape = tuple(kernel.shape)
    if len(shape) < 2:
        raise ValueError(f"`kernel` must be (*spatial, inputs, outputs). Received: a kernel of shape {shape}")
    *sizes, inputs, outputs = shape
    if depthwise:
        split = ops.reshape(kernel, (*sizes, 1, inputs, outputs))
    elif outputs % groups == 0:
        split = ops.reshape(kernel, (*sizes, inputs, groups, outputs // groups))
    else:
        raise ValueError(
            f"`groups` must divide the number of outputs. Received: groups={groups!r} with a kernel of shape {shape}"
        )
    rank = len(shape) + 1
    return ops.transpose(split, (rank - 2, *range(rank - 2), rank - 1))


def _per_dimension(strides: int | tuple[int, ...], rank: int, kernel: Any) -> tuple[int, ...]:
    if isinstance(strides, int):
        return (strides,) * rank
    if len(strides) != rank:
        raise ValueError(
            f"`strides` must be one number, or {rank}, one for each spatial dimension of the kernel. "
            f"Received: strides={strides!r}"
        )
    return tuple(strides)


def _half_of_the_shifts(sizes: list[int], strides: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Zero, and one of l and -l for every other shift at which a kernel still overlaps itself."""
    reach = [(size - 1) // stride for size, stride in zip(sizes, strides, strict=True)]
    for steps in itertools.product(*(range(-r, r + 1) for r in reach)):
        if steps >= (0,) * len(steps):
            yield tuple(step * stride for step, stride in zip(steps, strides, strict=True))


def _shifted_products(kernel: Any, shift: tuple[int, ...]) -> Any:
    """sum_x K[x]^T K[x + shift] for each group, (groups, outputs, outputs)."""
    groups, *sizes, _, outputs = kernel.shape
    # Of x and x + shift, the part that lies inside of the kernel.
    here = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(shift, sizes, strict=True))
    there = tuple(slice(max(0, s), size + min(0, s)) for s, size in zip(shift, sizes, strict=True))
    first, second = (ops.reshape(kernel[(slice(None), *part)], (groups, -1, outputs)) for part in (here, there))
    # Not `ops.matmul`, which is float32 with PyTorch even where its arguments are float64.
    return ops.transpose(first, (0, 2, 1)) @ second
