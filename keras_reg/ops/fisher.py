"""What the Fisher information is the gradient of: Kirkpatrick et al., Overcoming catastrophic forgetting.

arXiv 1612.00796, 2016.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg.ops._numerics import at_least_float32


def log_likelihood(labels: Any, outputs: Any, sigmoid: bool = False, from_logits: bool = True) -> Any:
    """The sum over a batch of log p(label | x), for the outputs of a classifier.

    Args:
        labels: Classes of the shape of the outputs without the last axis, or with 1 there, or distributions of the
            shape of the outputs. Of sigmoid, 0 and 1 for each output.
        outputs: Logits or probabilities, over classes along the last axis, or each for itself with `sigmoid`.
        sigmoid: Whether each output is a probability of its own.
        from_logits: Whether the outputs are logits.

    Returns:
        The logarithm of the likelihood, a scalar.

    Example:

    ```python
    float(log_likelihood(np.int32([1]), np.float32([[0.25, 0.75]]), from_logits=False))  # log 0.75
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
