"""Polarization of the scales of batch normalizations.

The penalty pulls the scales of all batch normalizations of a model to two values, 0 and a largest value. L1 would pull
all scales to 0. Scales at 0 have no effect, so pruning them changes nothing, and the remaining scales are not reduced.

Reference:
    - Zhuang et al., 2020: Neuron-level Structured Pruning using Polarization Regularizer, NeurIPS 2020
"""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_reg._types import ArrayLike, Tensor
from keras_reg.ops._numerics import absolute, at_least_float32


def polarization_penalty(scales: Tensor, sparsity: float = 1.2) -> Tensor:
    """Computes t ||g||_1 - ||g - mean(g)||_1, which is small if some scales are 0 and the others are equal and large.

    Args:
        scales: Tensor. All scales g as one vector.
        sparsity: Float. The factor t. For scales in [0, a], the penalty is minimal if the share 1/2 - t/4 of the scales
            is a, and the rest is 0. Defaults to `1.2`.

    Returns:
        The penalty, a scalar. Its gradient flows through the mean too.

    Example:

    ```python
    scales = np.float32([0.0, 0.0, 1.0, 1.0])
    penalty = keras_reg.ops.polarization_penalty(scales, sparsity=1.0)
    float(penalty)  # 2 - 2 = 0
    ```

    Reference:
        - Zhuang et al., 2020: Neuron-level Structured Pruning using Polarization Regularizer, NeurIPS 2020
    """
    scales = at_least_float32(scales)
    mean = ops.sum(scales) / scales.shape[0]
    return sparsity * ops.sum(absolute(scales)) - ops.sum(absolute(scales - mean))


def polarization_threshold(scales: ArrayLike, bins: int = 100) -> float:
    """Finds the threshold below which polarized scales can be cut: the first valley of their histogram over 0 to 1.

    Args:
        scales: Array. Scales. Only their magnitudes count.
        bins: Integer. The number of bins of the histogram. 100 bins have the width 0.01. Defaults to `100`.

    Returns:
        The lower edge of the first bin whose neighbors are not below it, or 0 without such a bin.

    Example:

    ```python
    scales = np.array([0.001, 0.002, 0.7, 0.8])
    polarization_threshold(scales)  # 0.01
    ```
    """
    counts, edges = np.histogram(np.abs(np.asarray(scales)), bins=bins, range=(0.0, 1.0))
    steps = np.diff(counts)
    (valleys,) = np.nonzero((steps[:-1] <= 0) & (steps[1:] >= 0))
    return float(edges[valleys[0] + 1]) if len(valleys) else 0.0
