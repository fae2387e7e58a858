"""Progressive self-distillation: Kim et al., Self-Knowledge Distillation with Progressive Refinement of Targets.

arXiv 2006.12000, 2020. The target of a sample in epoch e of T is (1 - w) y + w p, with y its label, p what the model
itself predicted for it one epoch ago, and w = final_weight * (e + 1) / T.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def linear_schedule(epoch: int, epochs: int, final_weight: float = 0.8) -> float:
    """The weight of the past prediction: it grows linearly and reaches `final_weight` in the last epoch.

    In the first epoch there is no past prediction, and targets are hard whatever the weight.

    Args:
        epoch: The epoch, counted from 0, also after a resume.
        epochs: The number of epochs of the whole training.
        final_weight: The weight in the last epoch, 0 to 1.

    Returns:
        The weight, at least 0.

    Example:

    ```python
    [linear_schedule(epoch, 4) for epoch in range(4)]  # [0.2, 0.4, 0.6, 0.8]
    ```
    """
    return max(0.0, final_weight * (epoch + 1) / epochs)


def soften_targets(targets: Any, past_probabilities: Any, weight: Any) -> Any:
    """Mixes labels with past predictions: (1 - weight) * targets + weight * past_probabilities.

    Args:
        targets: Labels as distributions, shape (..., num_classes).
        past_probabilities: What the model predicted for the same samples, shape (..., num_classes).
        weight: The weight of the past prediction (not of the label), a scalar from 0 to 1.

    Returns:
        The soft targets, shape (..., num_classes). No gradient flows through them.

    Example:

    ```python
    keras_reg.ops.soften_targets(np.array([[1.0, 0.0]]), np.array([[0.6, 0.4]]), 0.5)  # [[0.8, 0.2]]
    ```
    """
    targets, past_probabilities = ops.convert_to_tensor(targets), ops.convert_to_tensor(past_probabilities)
    return ops.stop_gradient(targets + weight * (past_probabilities - targets))


def self_distillation_term(targets: Any, past_probabilities: Any, log_probabilities: Any, weight: Any) -> Any:
    """What must be added to the cross-entropy with `targets` to make it the one with the softened targets.

    Cross-entropy is linear in its target, so this is weight * sum((targets - past_probabilities) * log p). Adding a
    term leaves labels as they are: integers stay integers, and several methods can be in one training.

    Args:
        targets: The targets that the loss is computed with, shape (..., num_classes), smoothed if the loss smooths.
        past_probabilities: What the model predicted for the same samples, shape (..., num_classes).
        log_probabilities: The log of the present predictions, shape (..., num_classes).
        weight: The weight of the past prediction, a scalar from 0 to 1.

    Returns:
        The term of each sample, shape (...).

    Example:

    ```python
    y, past, p = np.array([[1.0, 0.0]]), np.array([[0.6, 0.4]]), np.array([[0.5, 0.5]])
    self_distillation_term(y, past, np.log(p), 0.5)  # [0.0]: the prediction is undecided
    ```
    """
    difference = ops.convert_to_tensor(targets) - soften_targets(targets, past_probabilities, weight)
    return ops.sum(ops.stop_gradient(difference) * log_probabilities, axis=-1)
