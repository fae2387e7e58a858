"""The first-order response of weights to hyperparameters: the structured response of Delta-STN.

Reference:
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor


def weight_response(factors: Tensor, direction: Tensor, scaling: Tensor | None = None) -> Tensor:
    """Computes the change of a weight for a change of the hyperparameters: scaling * (direction @ factors).

    Args:
        factors: Tensor. Factors of shape (number of hyperparameters, units), where units is the last axis of the
            weight.
        direction: Tensor. The change of the unconstrained numbers of the hyperparameters, shape (number of
            hyperparameters,).
        scaling: Tensor. A factor for each entry of the weight, in its shape. Defaults to `None`, for a vector, which
            needs no factors.

    Returns:
        The change, of the shape of `scaling`, or (units,).

    Example:

    ```python
    factors, direction = np.float32([[1.0, 2.0]]), np.float32([0.1])
    scaling = np.ones((3, 2), "float32")
    weight_response(factors, direction, scaling)  # rows of 0.1, 0.2
    ```
    """
    units = ops.matmul(direction, factors)
    return units if scaling is None else ops.convert_to_tensor(scaling) * units


def response_gradients(
    gradient: Tensor, factors: Tensor, direction: Tensor, scaling: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """Computes the gradients of a loss with respect to the two parts of `weight_response`.

    Args:
        gradient: Tensor. The gradient of the loss with respect to the change of the weight, in its shape.
        factors: Tensor. The factors, as in `weight_response`.
        direction: Tensor. The change of the unconstrained numbers, as in `weight_response`.
        scaling: Tensor. The factor for each entry, as in `weight_response`. Defaults to `None`.

    Returns:
        The gradients with respect to the factors and to the scaling. The latter is `None` without a scaling.

    Example:

    ```python
    gradient, factors = np.ones((2,), "float32"), np.ones((1, 2), "float32")
    gradients = response_gradients(gradient, factors, np.float32([0.1]))
    gradients  # ([[0.1, 0.1]], None)
    ```
    """
    gradient = ops.convert_to_tensor(gradient)
    of_factors = ops.expand_dims(direction, 1) * _sum_by_unit(gradient, scaling)
    return of_factors, None if scaling is None else gradient * ops.matmul(direction, factors)


def hyperparameter_gradient(gradients: list[Tensor], factors: list[Tensor], scalings: list[Tensor | None]) -> Tensor:
    """Computes the gradient of a loss for the hyperparameters, by the chain rule through the responses of all weights.

    Args:
        gradients: List of tensors. The gradients of the loss with respect to the weights.
        factors: List of tensors. The factors of each weight, as in `weight_response`.
        scalings: List of tensors or `None`. The scaling of each weight, as in `weight_response`.

    Returns:
        The gradient with respect to the unconstrained numbers, shape (number of hyperparameters,).

    Example:

    ```python
    gradients, factors = [np.float32([3.0, 4.0])], [np.float32([[1.0, 2.0]])]
    hyperparameter_gradient(gradients, factors, [None])  # [11.0]
    ```
    """
    parts = zip(gradients, factors, scalings, strict=True)
    return sum(ops.matmul(of_weight, _sum_by_unit(gradient, scaling)) for gradient, of_weight, scaling in parts)


def _sum_by_unit(gradient: Tensor, scaling: Tensor | None) -> Tensor:
    """Sums over all axes but the last one, to the shape (units,)."""
    product = gradient if scaling is None else gradient * ops.convert_to_tensor(scaling)
    return ops.sum(ops.reshape(product, (-1, product.shape[-1])), axis=0)
