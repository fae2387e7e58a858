"""Orthogonality of convolutions.

A convolution with kernel K and stride S is a large matrix. Consider the products of the kernel with itself, shifted by
multiples of S. With periodic boundaries, the matrix is orthogonal if and only if these products equal those of a delta.

References:
    - [Wang et al., 2019](https://arxiv.org/abs/1911.12207): Orthogonal Convolutional Neural Networks
    - [Achour et al., 2021](https://arxiv.org/abs/2108.05623): Existence, Stability and Scalability of Orthogonal
      Convolutional Neural Networks (theory)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32, distance_to_identity


def orthogonal_convolution_penalty(
    kernel: Tensor, strides: int | tuple[int, ...] = 1, groups: int = 1, depthwise: bool = False
) -> Tensor:
    """Computes how far a convolution is from orthogonal. The penalty of an orthogonal convolution is 0.

    Let Z_l = sum_x K[x]^T K[x + l] for the shifts l that are multiples of the stride. With M output and C input
    channels, the penalty is ||Z_0 - I||^2 + sum_(l != 0) ||Z_l||^2 - max(0, M - C prod(S)).

    Let A be the matrix of the convolution with periodic boundaries. The penalty equals the squared Frobenius distance
    of A A^T to the identity, divided by the number of output positions (of A A^T). If A has more rows than columns,
    A^T A replaces A A^T in the distance.

    Z_-l is the transpose of Z_l, so only half of the shifts are computed. The cost does not depend on the size of the
    image. A kernel whose size is 1, or not above the stride, has only l = 0, and its penalty is that of its matrix.

    Args:
        kernel: Tensor. The kernel, (*spatial, inputs per group, outputs), or (*spatial, inputs, multiplier) if
            `depthwise=True`, or (inputs, outputs) for a `Dense` layer. A transposed convolution is the transposed
            matrix and has the same penalty.
        strides: Integer or tuple of integers. The stride, one number or one for each spatial dimension. Defaults to
            `1`.
        groups: Integer. The number of groups, each a separate convolution. Defaults to `1`.
        depthwise: Boolean. Whether each input channel is a group, as in `DepthwiseConv2D`. Defaults to `False`.

    Returns:
        The penalty, a scalar, of the kernel's type but at least float32.

    Raises:
        ValueError: If the strides or groups do not fit the kernel.

    Example:

    ```python
    delta = np.zeros((3, 3, 4, 4), "float32")
    delta[1, 1] = np.eye(4)  # leaves an image unchanged
    penalty = keras_reg.ops.orthogonal_convolution_penalty(delta)
    float(penalty)  # 0.0
    ```

    References:
        - [Wang et al., 2019](https://arxiv.org/abs/1911.12207): Orthogonal Convolutional Neural Networks
        - [Achour et al., 2021](https://arxiv.org/abs/2108.05623): Existence, Stability and Scalability of Orthogonal
          Convolutional Neural Networks (theory)
    """
    kernel = _split_groups(at_least_float32(kernel), groups, depthwise)
    _, *sizes, inputs, outputs = kernel.shape
    stride = _expand_strides(strides, len(sizes), kernel)
    taps = {shift: _multiply_shifted(kernel, shift) for shift in _iter_half_of_shifts(sizes, stride)}
    zero = (0,) * len(sizes)
    penalty = ops.sum(ops.square(distance_to_identity(taps.pop(zero))))
    for products in taps.values():
        penalty = penalty + 2.0 * ops.sum(ops.square(products))
    # With more outputs than inputs, not all rows can be orthogonal. If the columns are, exactly this constant remains.
    return penalty - kernel.shape[0] * max(0, outputs - inputs * math.prod(stride))


def _split_groups(kernel: Tensor, groups: int, depthwise: bool) -> Tensor:
    """Reshapes the kernel to (groups, *spatial, inputs of a group, outputs of a group)."""
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


def _expand_strides(strides: int | tuple[int, ...], rank: int, kernel: Tensor) -> tuple[int, ...]:
    if isinstance(strides, int):
        return (strides,) * rank
    if len(strides) != rank:
        raise ValueError(
            f"`strides` must be one number, or {rank}, one for each spatial dimension of the kernel. "
            f"Received: strides={strides!r}"
        )
    return tuple(strides)


def _iter_half_of_shifts(sizes: list[int], strides: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yields zero, and one of l and -l for every other shift at which a kernel still overlaps itself."""
    reach = [(size - 1) // stride for size, stride in zip(sizes, strides, strict=True)]
    for steps in itertools.product(*(range(-r, r + 1) for r in reach)):
        if steps >= (0,) * len(steps):
            yield tuple(step * stride for step, stride in zip(steps, strides, strict=True))


def _multiply_shifted(kernel: Tensor, shift: tuple[int, ...]) -> Tensor:
    """Computes sum_x K[x]^T K[x + shift] for each group, shape (groups, outputs, outputs)."""
    groups, *sizes, _, outputs = kernel.shape
    # Only positions x with both x and x + shift inside the kernel contribute.
    original = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(shift, sizes, strict=True))
    shifted = tuple(slice(max(0, s), size + min(0, s)) for s, size in zip(shift, sizes, strict=True))
    first, second = (ops.reshape(kernel[(slice(None), *part)], (groups, -1, outputs)) for part in (original, shifted))
    # `ops.matmul` computes in float32 on PyTorch, even if its arguments are float64.
    return ops.transpose(first, (0, 2, 1)) @ second
