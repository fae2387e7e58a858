"""Progressive self-distillation.

The target of a sample in epoch e of T is (1 - w) y + w p, with w = final_weight * (e + 1) / T. Here y is its label, and
p is the model's own prediction one epoch ago.

Reference:
    - [Kim et al., 2020](https://arxiv.org/abs/2006.12000): Self-Knowledge Distillation with Progressive Refinement of
      Targets
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor


def linear_schedule(epoch: int, epochs: int, final_weight: float = 0.8) -> float:
    """Returns the weight of the past prediction, which grows linearly to `final_weight` in the last epoch.

    In the first epoch there is no past prediction, so targets are hard regardless of the weight.

    Args:
        epoch: Integer. The epoch, counted from 0, also after a resume.
        epochs: Integer. The number of epochs of the whole training run.
        final_weight: Float. The weight in the last epoch, 0 to 1. Defaults to `0.8`.

    Returns:
        The weight, at least 0.

    Example:

    ```python
    weights = [linear_schedule(epoch, 4) for epoch in range(4)]
    weights  # [0.2, 0.4, 0.6, 0.8]
    ```
    """
    return max(0.0, final_weight * (epoch + 1) / epochs)


def soften_targets(targets: Tensor, past_probabilities: Tensor, weight: Tensor | float) -> Tensor:
    """Mixes labels with past predictions: (1 - weight) * targets + weight * past_probabilities.

    Args:
        targets: Tensor. Labels as distributions, shape (..., num_classes).
        past_probabilities: Tensor. The model's past predictions for the same samples, shape (..., num_classes).
        weight: Float or tensor. The weight of the past prediction (not of the label), a scalar from 0 to 1.

    Returns:
        The soft targets, shape (..., num_classes). No gradient flows through them.

    Example:

    ```python
    labels, past = np.array([[1.0, 0.0]]), np.array([[0.6, 0.4]])
    keras_reg.ops.soften_targets(labels, past, 0.5)  # [[0.8, 0.2]]
    ```

    Reference:
        - [Kim et al., 2020](https://arxiv.org/abs/2006.12000): Self-Knowledge Distillation with Progressive Refinement
          of Targets
    """
    targets, past_probabilities = ops.convert_to_tensor(targets), ops.convert_to_tensor(past_probabilities)
    return ops.stop_gradient(targets + weight * (past_probabilities - targets))


def self_distillation_term(
    targets: Tensor, past_probabilities: Tensor, log_probabilities: Tensor, weight: Tensor | float
) -> Tensor:
    """Computes the term that turns the cross-entropy with `targets` into the one with the softened targets.

    Cross-entropy is linear in its target, so the term is weight * sum((targets - past_probabilities) * log p). The term
    is added to the loss and leaves labels unchanged. Integers stay integers, and one training run can use several
    methods.

    Args:
        targets: Tensor. The targets of the loss, shape (..., num_classes), smoothed if the loss smooths.
        past_probabilities: Tensor. The model's past predictions for the same samples, shape (..., num_classes).
        log_probabilities: Tensor. The logarithms of the current predictions, shape (..., num_classes).
        weight: Float or tensor. The weight of the past prediction, a scalar from 0 to 1.

    Returns:
        The term of each sample, shape (...).

    Example:

    ```python
    y, past = np.array([[1.0, 0.0]]), np.array([[0.6, 0.4]])
    log_p = np.log(np.array([[0.5, 0.5]]))
    term = self_distillation_term(y, past, log_p, 0.5)
    term  # [0.0]: the prediction is undecided
    ```
    """
    difference = ops.convert_to_tensor(targets) - soften_targets(targets, past_probabilities, weight)
    return ops.sum(ops.stop_gradient(difference) * log_probabilities, axis=-1)
