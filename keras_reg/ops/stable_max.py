"""StableMax and softmax collapse.

StableMax is a softmax that replaces the exponential function by s(x) (equations 5 and 6 of the paper's StableMax
section). For x >= 0, s(x) = x + 1. Below 0, s(x) = 1 / (1 - x).

Reference:
    - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability, equations 5
      and 6
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import DType, Tensor
from keras_reg.ops._numerics import at_least_float32


def log_stablemax(logits: Tensor) -> Tensor:
    """Computes the logarithm of StableMax, log(s(x_i) / sum_j s(x_j)), over the last axis.

    It uses log s(x) = log1p(x) for x >= 0 and -log1p(-x) below, which neither overflows nor rounds to 0.

    Args:
        logits: Tensor. Logits, shape (..., num_classes).

    Returns:
        Logarithms of probabilities, of the same shape. They are float32 for 16-bit floats.

    Example:

    ```python
    logits = np.array([[1.0, 0.0, -1.0]])
    keras_reg.ops.log_stablemax(logits)  # log([[2, 1, 1 / 2]] / 3.5)
    ```

    Reference:
        - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability,
          equations 5 and 6
    """
    logits = at_least_float32(logits)
    ones = ops.ones_like(logits)
    # log s(x) is odd. The sign of 0 is 1 here, so that the slope at 0 is 1 on every backend.
    sign = ops.where(logits >= 0, ones, -ones)
    log_s = sign * ops.log1p(sign * logits)
    return log_s - ops.logsumexp(log_s, axis=-1, keepdims=True)


def stablemax_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """Computes the cross-entropy of each sample with StableMax in place of softmax.

    Args:
        targets: Tensor. Distributions over the classes, such as one-hot labels, shape (..., num_classes).
        logits: Tensor. Logits, of the same shape.

    Returns:
        The cross-entropy, shape (...).

    Example:

    ```python
    targets, logits = np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]])
    loss = keras_reg.ops.stablemax_cross_entropy(targets, logits)
    loss  # [-log(4 / 5)]
    ```

    Reference:
        - [Prieto et al., 2025](https://arxiv.org/abs/2501.04697): Grokking at the Edge of Numerical Stability,
          equations 5 and 6
    """
    log_probabilities = log_stablemax(logits)
    return -ops.sum(ops.cast(targets, log_probabilities.dtype) * log_probabilities, axis=-1)


def softmax_collapse(labels: Tensor, logits: Tensor) -> Tensor:
    """Detects where softmax has collapsed: the sum of all exponentials rounds to that of the label alone.

    The cross-entropy is then exactly 0, and so is the gradient with respect to the label's logit. Nothing more is
    learned from the sample, but the other logits still move.

    Args:
        labels: Tensor. Class numbers, integers, shape (...).
        logits: Tensor. Logits, shape (..., num_classes), in the floating-point type in which the loss is computed.

    Returns:
        Booleans, shape (...).

    Example:

    ```python
    logits = np.array([[3.0, 0.0], [90.0, 0.0]], "float32")
    softmax_collapse(np.array([0, 0]), logits)  # [False, True]
    ```
    """
    logits = at_least_float32(logits)
    exponentials = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    of_label = exponentials * one_hot(labels, logits.shape[-1], logits.dtype)
    return ops.sum(exponentials, axis=-1) == ops.sum(of_label, axis=-1)


def one_hot(labels: Tensor, num_classes: int, dtype: DType) -> Tensor:
    """Converts class numbers to one-hot rows, and numbers out of range to zeros.

    On PyTorch, `ops.one_hot` fails for numbers out of range.
    """
    classes = ops.arange(num_classes, dtype="int32")
    return ops.cast(ops.cast(labels, "int32")[..., None] == classes, dtype)
