"""A gradient step for hyperparameters, with two safeguards.

Reference:
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor


def hyperparameter_step(
    free: Tensor,
    mean_square: Tensor,
    gradient: Tensor,
    learning_rate: float,
    rho: float = 0.99,
    max_step: float | None = None,
    epsilon: float = 1e-8,
) -> tuple[Tensor, Tensor]:
    """Takes a step of RMSprop in the authors' form, whose moving mean starts at 0 without bias correction.

    The first steps are therefore 10 learning rates long, regardless of the size of the gradient.

    Args:
        free: Tensor. The unconstrained numbers of the hyperparameters.
        mean_square: Tensor. The moving mean of their squared gradients.
        gradient: Tensor. The gradient of the unconstrained numbers.
        learning_rate: Float. The learning rate.
        rho: Float. The share of the moving mean that is kept. Defaults to `0.99`.
        max_step: Float. The largest change of an unconstrained number. Defaults to `None`, which means no limit.
        epsilon: Float. A number that is added to the root. Defaults to `1e-8`.

    Returns:
        The unconstrained numbers and the moving mean after the step.

    Example:

    ```python
    zero, gradient = np.zeros(1, "float32"), np.float32([3.0])
    step = hyperparameter_step(zero, zero, gradient, learning_rate=0.01)
    step  # ([-0.1], [0.09])
    ```
    """
    free, mean_square, gradient = (ops.convert_to_tensor(value) for value in (free, mean_square, gradient))
    mean_square = rho * mean_square + (1 - rho) * ops.square(gradient)
    step = learning_rate * gradient / (ops.sqrt(mean_square) + epsilon)
    if max_step is not None:
        step = ops.clip(step, -max_step, max_step)
    return free - step, mean_square


def gradient_noise_gate(
    moments: Tensor, gradient: Tensor, standard_errors: float, momentum: float = 0.9
) -> tuple[Tensor, Tensor]:
    """Tests whether the moving mean of a gradient differs from 0 by a number of standard errors.

    Args:
        moments: Tensor. The moving means of 1, of the gradient and of its square, shape (3, number of
            hyperparameters). They start at zero.
        gradient: Tensor. The gradient, shape (number of hyperparameters,).
        standard_errors: Float. The required number of standard errors. With 0, every gradient passes.
        momentum: Float. The share of the moving means that is kept. Defaults to `0.9`.

    Returns:
        Booleans of shape (number of hyperparameters,), and the moments after this gradient.

    Example:

    ```python
    moments = np.zeros((3, 1), "float32")
    gradient = np.float32([0.5])
    steady, moments = gradient_noise_gate(
        moments, gradient, standard_errors=2.0
    )
    ```
    """
    moments, gradient = ops.convert_to_tensor(moments), ops.convert_to_tensor(gradient)
    new = ops.stack([ops.ones_like(gradient), gradient, ops.square(gradient)])
    moments = momentum * moments + (1 - momentum) * new
    mean, square = moments[1] / moments[0], moments[2] / moments[0]
    # The effective number of values in an exponential mean is the squared sum of its weights over their sum of squares.
    count = (1 + momentum) / (1 - momentum) * moments[0] / (2 - moments[0])
    error = ops.sqrt(ops.maximum(square - ops.square(mean), 0.0) / ops.maximum(count - 1, 1e-3))
    distinct = ops.abs(mean) >= standard_errors * error
    # A single value has no standard error.
    return distinct if standard_errors == 0 else ops.logical_and(distinct, count > 2), moments
