"""MaskSparsity: Jiang, Zhao, Zhao, An, Tang, Wang, arXiv 2201.06776, 2022.

Only the scales that are to be pruned are penalized. L1 on all of them makes those small too that stay.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import absolute, at_least_float32

KINDS = ("l1", "l2")


def mask_sparsity_penalty(scales: Any, mask: Any, kind: str = "l1") -> Any:
    """The penalty of the scales where the mask is 1: sum |g| with `"l1"`, sum g^2 / 2 with `"l2"`.

    Args:
        scales: g, scales of any shape.
        mask: 1 for scales to prune, 0 for those to keep, of the same shape.
        kind: `"l1"` or `"l2"`.

    Returns:
        The penalty, a scalar. Its gradient at 0 is 0.

    Example:

    ```python
    float(mask_sparsity_penalty(np.float32([0.5, 0.01]), np.float32([0.0, 1.0])))  # 0.01
    ```
    """
    scales = at_least_float32(scales)
    sizes = absolute(scales) if kind == "l1" else 0.5 * ops.square(scales)
    return ops.sum(ops.cast(mask, scales.dtype) * sizes)
