"""MaskSparsity, which penalizes only the scales that will be pruned.

L1 on all scales would also shrink the scales that remain.

Reference:
    - [Jiang et al., 2022](https://arxiv.org/abs/2201.06776): Pruning-aware Sparse Regularization for Network Pruning
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import absolute, at_least_float32

KINDS = ("l1", "l2")


def mask_sparsity_penalty(scales: Tensor, mask: Tensor, kind: str = "l1") -> Tensor:
    """Computes the penalty of the scales where the mask is 1: sum |g| with `"l1"`, sum g^2 / 2 with `"l2"`.

    Args:
        scales: Tensor. The scales g, of any shape.
        mask: Tensor. 1 for scales to prune and 0 for scales to keep, of the same shape.
        kind: String. `"l1"` or `"l2"`. Defaults to `"l1"`.

    Returns:
        The penalty, a scalar. Its gradient at 0 is 0.

    Example:

    ```python
    scales, mask = np.float32([0.5, 0.01]), np.float32([0.0, 1.0])
    float(mask_sparsity_penalty(scales, mask))  # 0.01
    ```
    """
    scales = at_least_float32(scales)
    sizes = absolute(scales) if kind == "l1" else 0.5 * ops.square(scales)
    return ops.sum(ops.cast(mask, scales.dtype) * sizes)
