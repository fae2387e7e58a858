"""Early-learning regularization.

Let p be the clipped class probabilities of a sample and t its target. The training loss is cross-entropy + strength *
mean(log(1 - <t, p>)) (equation 6). The target t is a running average of the model's own predictions (equation 7).

Reference:
    - [Liu et al., 2020](https://arxiv.org/abs/2007.00151): Early-Learning Regularization Prevents Memorization of Noisy
      Labels, equations 6 and 7
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor


def clip_probabilities(probabilities: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Clips probabilities to [epsilon, 1 - epsilon], so that the penalty stays finite.

    The authors' code clips, and the paper does not. The gradient is 1 on the closed interval and 0 outside, on every
    backend. On JAX, `ops.clip` has the gradient 1/2 at the boundary.

    Args:
        probabilities: Tensor. Class probabilities, shape (batch, num_classes).
        epsilon: Float. The smallest distance from 0 and 1. Float16 and bfloat16 cannot represent 1 - 1e-4, so compute
            in float32. Defaults to `1e-4`.

    Returns:
        The clipped probabilities, of the same shape and type. Rows no longer sum exactly to one.

    Example:

    ```python
    probabilities = np.array([[1.0, 0.0]], "float32")
    clip_probabilities(probabilities)  # [[0.9999, 0.0001]]
    ```
    """
    probabilities = ops.convert_to_tensor(probabilities)
    clipped = ops.stop_gradient(ops.clip(probabilities, epsilon, 1.0 - epsilon))
    inside = ops.logical_and(probabilities >= epsilon, probabilities <= 1.0 - epsilon)
    return ops.where(inside, probabilities, clipped)


def update_early_targets(targets: Tensor, probabilities: Tensor, momentum: float = 0.7) -> Tensor:
    """Moves the targets towards the model's current predictions: t <- momentum t + (1 - momentum) p / sum(p).

    Targets start at zero and are not bias-corrected, so the penalty of a sample grows with its visits. After k visits,
    its target sums to 1 - momentum**k. No gradient flows into the result.

    Args:
        targets: Tensor. The current targets of the samples, shape (batch, num_classes).
        probabilities: Tensor. The clipped class probabilities of the samples, shape (batch, num_classes).
        momentum: Float. The share of the old target that is kept, from 0 (last prediction only) to below 1. Defaults
            to `0.7`.

    Returns:
        The new targets, shape (batch, num_classes). The penalty is computed with these, and not with the old targets.

    Example:

    ```python
    targets, p = np.zeros((1, 2)), np.array([[0.9, 0.1]])
    targets = update_early_targets(targets, p)  # [[0.27, 0.03]]
    ```
    """
    targets = ops.stop_gradient(ops.convert_to_tensor(targets))
    probabilities = ops.stop_gradient(ops.convert_to_tensor(probabilities))
    normalized = probabilities / ops.sum(probabilities, axis=-1, keepdims=True)
    return momentum * targets + (1.0 - momentum) * normalized


def early_learning_penalty(targets: Tensor, probabilities: Tensor) -> Tensor:
    """Computes the early-learning penalty of each sample, log(1 - <t, p>).

    The penalty falls as predictions come to agree with targets.

    Args:
        targets: Tensor. The current targets, updated with the predictions of this step, shape (batch, num_classes).
            They are constants here.
        probabilities: Tensor. Clipped class probabilities, shape (batch, num_classes).

    Returns:
        The penalty, shape (batch,), at most 0. Multiply it by the strength and average it over the batch.

    Example:

    ```python
    targets, p = np.array([[0.5, 0.0]]), np.array([[0.8, 0.2]])
    keras_reg.ops.early_learning_penalty(targets, p)  # [log(0.6)]
    ```

    Reference:
        - [Liu et al., 2020](https://arxiv.org/abs/2007.00151): Early-Learning Regularization Prevents Memorization of
          Noisy Labels, equation 6
    """
    targets = ops.stop_gradient(ops.convert_to_tensor(targets))
    return ops.log1p(-ops.sum(targets * probabilities, axis=-1))
