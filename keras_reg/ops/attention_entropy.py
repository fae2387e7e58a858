"""The entropy of attention: Zhang et al. (arXiv 2406.15303, 2024), Jha, Reagen (arXiv 2501.03489, 2025)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.ops._numerics import at_least_float32

#: What is added to probabilities inside of the logarithm, as in the authors' code.
EPSILON = 1e-9


def attention_entropy(attention: Any, from_logits: bool = False) -> Any:
    """The entropy -sum(p log p) of each distribution over the last axis.

    Args:
        attention: Attention weights that sum to 1 over the last axis, or with `from_logits=True` what softmax makes
            them of, shape (..., keys); minus infinity is a weight of 0.
        from_logits: Whether softmax is still to be applied.

    Returns:
        Entropies between 0 and log(keys), shape (...), in float32 at least.

    Example:

    ```python
    keras_reg.ops.attention_entropy(np.array([[0.5, 0.5], [1.0, 0.0]]))  # [log 2, 0]
    ```
    """
    attention = at_least_float32(attention)
    if from_logits:
        # Masks of minus infinity: 0 times it would be no number.
        floor = ops.full_like(attention, float(np.finfo(keras.backend.standardize_dtype(attention.dtype)).min) / 4)
        logarithm = ops.log_softmax(ops.where(attention < floor, floor, attention), axis=-1)
        return -ops.sum(ops.exp(logarithm) * logarithm, axis=-1)
    return -ops.sum(attention * ops.log(attention + EPSILON), axis=-1)


def entropy_deviation_penalty(entropy: Any, largest: Any, threshold: Any, margin: float = 0.2) -> Any:
    """The squared distance of entropies from a share of the largest one, where it is above a margin.

    With H the entropy and M the largest, d = H - threshold M; the penalty is d^2 where |d| > margin M, else 0.

    Args:
        entropy: Entropies, shape (..., heads, queries).
        largest: The largest entropy, log(keys), a scalar or of a shape that can be broadcast.
        threshold: The wanted shares, of a shape that can be broadcast, such as (heads, 1).
        margin: The share of the largest entropy that the distance may have for nothing.

    Returns:
        Penalties of the shape of `entropy`.

    Example:

    ```python
    entropy_deviation_penalty(np.array([0.0, 0.5]), largest=1.0, threshold=0.5)  # [0.25, 0]
    ```
    """
    deviation = entropy - threshold * largest
    return ops.where(ops.abs(deviation) > margin * largest, ops.square(deviation), ops.zeros_like(deviation))
