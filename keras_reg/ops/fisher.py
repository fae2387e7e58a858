"""The log-likelihood whose squared gradients are the diagonal of the Fisher information.

Reference:
    - [Kirkpatrick et al., 2016](https://arxiv.org/abs/1612.00796): Overcoming catastrophic forgetting in neural
      networks
"""

from __future__ import annotations

import keras
from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32


def log_likelihood(labels: Tensor, outputs: Tensor, sigmoid: bool = False, from_logits: bool = True) -> Tensor:
    """Sums log p(label | x) over a batch, for the outputs of a classifier.

    Args:
        labels: Tensor. Classes in the shape of the outputs without the last axis, or with a last axis of size 1, or
            distributions in the shape of the outputs. With `sigmoid=True`, 0 or 1 for each output.
        outputs: Tensor. Logits or probabilities, over the classes along the last axis, or independent of each other
            with `sigmoid=True`.
        sigmoid: Boolean. Whether each output is the probability of an independent label. Defaults to `False`.
        from_logits: Boolean. Whether the outputs are logits. Defaults to `True`.

    Returns:
        The logarithm of the likelihood, a scalar.

    Example:

    ```python
    labels, p = np.int32([1]), np.float32([[0.25, 0.75]])
    float(log_likelihood(labels, p, from_logits=False))  # log 0.75
    ```
    """
    outputs = at_least_float32(outputs)
    epsilon = keras.config.epsilon()
    if sigmoid:
        labels = ops.reshape(ops.cast(labels, outputs.dtype), ops.shape(outputs))
        if from_logits:
            return -ops.sum(ops.softplus(outputs) - labels * outputs)
        outputs = ops.clip(outputs, epsilon, 1.0 - epsilon)
        return ops.sum(labels * ops.log(outputs) + (1.0 - labels) * ops.log(1.0 - outputs))
    if from_logits:
        logarithms = ops.log_softmax(outputs)
    else:
        probabilities = outputs / ops.sum(outputs, axis=-1, keepdims=True)
        logarithms = ops.log(ops.clip(probabilities, epsilon, 1.0))
    labels = ops.convert_to_tensor(labels)
    if tuple(labels.shape[1:]) != tuple(outputs.shape[1:]):
        labels = ops.reshape(labels, ops.shape(outputs)[:-1])
        labels = ops.one_hot(ops.cast(labels, "int32"), outputs.shape[-1])
    return ops.sum(ops.cast(labels, outputs.dtype) * logarithms)
