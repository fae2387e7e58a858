"""One step of hyperparameters down their gradient, as in Delta-STN (arXiv 2010.13514), with two guards."""

from __future__ import annotations

from typing import Any

from keras import ops


def hyperparameter_step(
    free: Any,
    mean_square: Any,
    gradient: Any,
    learning_rate: float,
    rho: float = 0.99,
    max_step: float | None = None,
    epsilon: float = 1e-8,
) -> tuple[Any, Any]:
    """A step of RMSprop in the form of the authors: the moving mean starts at 0 and is not corrected for that.

    The first steps are therefore of 10 learning rates, whatever the size of the gradient.

    Args:
        free: The free numbers of the hyperparameters.
        mean_square: The moving mean of their squared gradients.
        gradient: Their gradient.
        learning_rate: The learning rate.
        rho: How much of the moving mean is kept.
        max_step: The largest change of a free number, or `None`.
        epsilon: What is added to the root.

    Returns:
        The free numbers and the moving mean after the step.

    Example:

    ```python
    zero = np.zeros(1, "float32")
    hyperparameter_step(zero, zero, np.float32([3.0]), learning_rate=0.01)  # ([-0.1], [0.09])
    ```
    """
    free, mean_square, gradient = (ops.convert_to_tensor(value) for value in (free, mean_square, gradient))
    mean_square = rho * mean_square + (1 - rho) * ops.square(gradient)
    step = learning_rate * gradient / (ops.sqrt(mean_square) + epsilon)
    if max_step is not None:
        step = ops.clip(step, -max_step, max_step)
    return free - step, mean_square


def gradient_noise_gate(moments: Any, gradient: Any, standard_errors: float, momentum: float = 0.9) -> tuple[Any, Any]:
    """Whether a gradient is told from 0 by its last values: is its moving mean that many standard errors from 0?

    Args:
        moments: The moving means of 1, of the gradient and of its square, shape (3, number of hyperparameters); zeros
            at first.
        gradient: The gradient, shape (number of hyperparameters,).
        standard_errors: How many; with 0 the answer is always yes.
        momentum: How much of the moving means is kept.

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
    # The weights of an exponential mean count for as many equal ones as the square of their sum over that of squares.
    count = (1 + momentum) / (1 - momentum) * moments[0] / (2 - moments[0])
    error = ops.sqrt(ops.maximum(square - ops.square(mean), 0.0) / ops.maximum(count - 1, 1e-3))
    told = ops.abs(mean) >= standard_errors * error
    # Of one value there is no standard error.
    return told if standard_errors == 0 else ops.logical_and(told, count > 2), moments
