"""Polarization of scales: Zhuang, Zhang, Huang, Zeng, Shuang, Li, NeurIPS 2020.

The scales of all batch normalizations of a model are drawn to two values, 0 and a largest one, in place of all to 0 as
by L1: what is pruned afterwards then says nothing, and what stays was not made smaller.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_reg.ops._numerics import absolute, at_least_float32


def polarization_penalty(scales: Any, sparsity: float = 1.2) -> Any:
    """T ||g||_1 - ||g - mean(g)||_1: small where some scales are 0 and the others alike and large.

    Args:
        scales: g, all scales as one vector.
        sparsity: t. Of scales in [0, a], the share 1/2 - t/4 is a at the minimum, and the rest 0.

    Returns:
        The penalty, a scalar. Its gradient flows through the mean too.

    Example:

    ```python
    float(keras_reg.ops.polarization_penalty(np.float32([0.0, 0.0, 1.0, 1.0]), sparsity=1.0))  # 2 - 2 = 0
    ```
    """
    scales = at_least_float32(scales)
    mean = ops.sum(scales) / scales.shape[0]
    return sparsity * ops.sum(absolute(scales)) - ops.sum(absolute(scales - mean))


def polarization_threshold(scales: Any, bins: int = 100) -> float:
    """Where to cut polarized scales: the first valley of their histogram over 0 to 1.

    Args:
        scales: Scales, of which the magnitude counts.
        bins: Of the histogram; 100 have the width 0.01.

    Returns:
        The lower edge of the first bin that no bin beside it is below; 0 where there is none.

    Example:

    ```python
    polarization_threshold(np.array([0.001, 0.002, 0.7, 0.8]))  # 0.01
    ```
    """
    counts, edges = np.histogram(np.abs(np.asarray(scales)), bins=bins, range=(0.0, 1.0))
    steps = np.diff(counts)
    (valleys,) = np.nonzero((steps[:-1] <= 0) & (steps[1:] >= 0))
    return float(edges[valleys[0] + 1]) if len(valleys) else 0.0
