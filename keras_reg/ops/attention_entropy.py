"""The entropy of attention.

References:
    - [Zhang et al., 2024](https://arxiv.org/abs/2406.15303): AEM: Attention Entropy Maximization for Multiple Instance
      Learning based Whole Slide Image Classification
    - [Jha and Reagen, 2025](https://arxiv.org/abs/2501.03489): Entropy-Guided Attention for Private LLMs
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32

#: This number is added to probabilities inside of the logarithm, as in the authors' code.
EPSILON = 1e-9


def attention_entropy(attention: Tensor, from_logits: bool = False) -> Tensor:
    """Computes the entropy -sum(p log p) of each distribution over the last axis.

    Args:
        attention: Tensor. Attention weights that sum to 1 over the last axis, or logits if `from_logits=True`, shape
            (..., keys). A logit of minus infinity is a weight of 0.
        from_logits: Boolean. Whether `attention` holds logits, before softmax. Defaults to `False`.

    Returns:
        Entropies between 0 and log(keys), shape (...), in float32 or wider.

    Example:

    ```python
    attention = np.array([[0.5, 0.5], [1.0, 0.0]])
    keras_reg.ops.attention_entropy(attention)  # [log 2, 0]
    ```

    References:
        - [Zhang et al., 2024](https://arxiv.org/abs/2406.15303): AEM: Attention Entropy Maximization for Multiple
          Instance Learning based Whole Slide Image Classification
        - [Jha and Reagen, 2025](https://arxiv.org/abs/2501.03489): Entropy-Guided Attention for Private LLMs
    """
    attention = at_least_float32(attention)
    if from_logits:
        # Masks are minus infinity, and 0 times minus infinity would be NaN.
        floor = ops.full_like(attention, float(np.finfo(keras.backend.standardize_dtype(attention.dtype)).min) / 4)
        logarithm = ops.log_softmax(ops.where(attention < floor, floor, attention), axis=-1)
        return -ops.sum(ops.exp(logarithm) * logarithm, axis=-1)
    return -ops.sum(attention * ops.log(attention + EPSILON), axis=-1)


def entropy_deviation_penalty(
    entropy: Tensor, largest: Tensor | float, threshold: Tensor | float, margin: float = 0.2
) -> Tensor:
    """Computes the squared distance of entropies from a share of the largest entropy, where it exceeds a margin.

    With H the entropy and M the largest, d = H - threshold M. The penalty is d^2 where |d| > margin M, and 0 elsewhere.

    Args:
        entropy: Tensor. Entropies, shape (..., heads, queries).
        largest: Float or tensor. The largest entropy, log(keys), a scalar or of a shape that broadcasts.
        threshold: Float or tensor. The target shares, of a shape that broadcasts, such as (heads, 1).
        margin: Float. The distance that has no penalty, as a share of the largest entropy. Defaults to `0.2`.

    Returns:
        Penalties of the shape of `entropy`.

    Example:

    ```python
    entropy = np.array([0.0, 0.5])
    penalty = entropy_deviation_penalty(
        entropy, largest=1.0, threshold=0.5
    )  # [0.25, 0]
    ```

    Reference:
        - [Jha and Reagen, 2025](https://arxiv.org/abs/2501.03489): Entropy-Guided Attention for Private LLMs
    """
    deviation = entropy - threshold * largest
    return ops.where(ops.abs(deviation) > margin * largest, ops.square(deviation), ops.zeros_like(deviation))
