"""Early-learning regularization: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels.

arXiv 2007.00151, 2020. With p the clipped class probabilities of a sample and t its target, the training loss is
cross-entropy + strength * mean(log(1 - <t, p>)), eq. 6, where t is a running average of the model's own predictions,
eq. 7.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def clip_probabilities(probabilities: Any, epsilon: float = 1e-4) -> Any:
    """Keeps probabilities inside [epsilon, 1 - epsilon], so that the penalty stays finite.

    The clip is in the authors' code, not in the paper. Its gradient is 1 on the closed interval and 0 outside, on
    every backend (`ops.clip` gives 1/2 on the boundary with JAX).

    Args:
        probabilities: Class probabilities, shape (batch, num_classes).
        epsilon: The distance kept from 0 and 1. Float16 and bfloat16 cannot represent 1 - 1e-4: compute in float32.

    Returns:
        The clipped probabilities, same shape and type. Rows no longer sum exactly to one.

    Example:

    ```python
    clip_probabilities(np.array([[1.0, 0.0]], "float32"))  # [[0.9999, 0.0001]]
    ```
    """
    probabilities = ops.convert_to_tensor(probabilities)
    clipped = ops.stop_gradient(ops.clip(probabilities, epsilon, 1.0 - epsilon))
    inside = ops.logical_and(probabilities >= epsilon, probabilities <= 1.0 - epsilon)
    return ops.where(inside, probabilities, clipped)


def update_early_targets(targets: Any, probabilities: Any, momentum: float = 0.7) -> Any:
    """Moves the targets towards the model's present predictions: t <- momentum t + (1 - momentum) p / sum(p).

    Targets start at zero and are not bias-corrected, so the penalty of a sample ramps up by itself: after k visits its
    target sums to 1 - momentum**k. No gradient flows into the result.

    Args:
        targets: Present targets of the samples, shape (batch, num_classes).
        probabilities: Their clipped class probabilities, shape (batch, num_classes).
        momentum: How much of the old target is kept, from 0 (last prediction only) to below 1.

    Returns:
        The new targets, shape (batch, num_classes). The penalty is computed with these, not with the old ones.

    Example:

    ```python
    t = update_early_targets(np.zeros((1, 2)), np.array([[0.9, 0.1]]))  # [[0.27, 0.03]]
    ```
    """
    targets = ops.stop_gradient(ops.convert_to_tensor(targets))
    probabilities = ops.stop_gradient(ops.convert_to_tensor(probabilities))
    normalized = probabilities / ops.sum(probabilities, axis=-1, keepdims=True)
    return momentum * targets + (1.0 - momentum) * normalized


def early_learning_penalty(targets: Any, probabilities: Any) -> Any:
    """The early-learning penalty of each sample, log(1 - <t, p>), which falls as predictions agree with targets.

    Args:
        targets: Targets after `update_early_targets`, shape (batch, num_classes). They are constants here.
        probabilities: Clipped class probabilities, shape (batch, num_classes).

    Returns:
        The penalty, shape (batch,), at most 0. Multiply by the strength and average over the batch.

    Example:

    ```python
    keras_reg.ops.early_learning_penalty(np.array([[0.5, 0.0]]), np.array([[0.8, 0.2]]))  # [log(0.6)]
    ```
    """
    targets = ops.stop_gradient(ops.convert_to_tensor(targets))
    return ops.log1p(-ops.sum(targets * probabilities, axis=-1))
