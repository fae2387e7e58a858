"""How weights answer to hyperparameters, to first order: the structured response of Delta-STN (arXiv 2010.13514)."""

from __future__ import annotations

from typing import Any

from keras import ops


def weight_response(factors: Any, direction: Any, scaling: Any = None) -> Any:
    """The change of a weight for a change of the hyperparameters: scaling * (direction @ factors).

    Args:
        factors: Shape (number of hyperparameters, units), where units is the last axis of the weight.
        direction: The change of the free numbers of the hyperparameters, shape (number of hyperparameters,).
        scaling: A factor for each entry of the weight, in its shape, or `None` for a vector, which needs none.

    Returns:
        The change, shape of `scaling`, or (units,).

    Example:

    ```python
    factors, direction = np.float32([[1.0, 2.0]]), np.float32([0.1])
    weight_response(factors, direction, scaling=np.ones((3, 2), "float32"))  # rows of 0.1, 0.2
    ```
    """
    units = ops.matmul(direction, factors)
    return units if scaling is None else ops.convert_to_tensor(scaling) * units


def response_gradients(gradient: Any, factors: Any, direction: Any, scaling: Any = None) -> tuple[Any, Any]:
    """The gradients of a loss for the two parts of `weight_response`.

    Args:
        gradient: The gradient of the loss for the change of the weight, in its shape.
        factors: As in `weight_response`.
        direction: As in `weight_response`.
        scaling: As in `weight_response`.

    Returns:
        The gradient for the factors, and that for the scaling, `None` where there is none.

    Example:

    ```python
    gradient, factors, direction = np.ones((2,), "float32"), np.ones((1, 2), "float32"), np.float32([0.1])
    response_gradients(gradient, factors, direction)  # ([[0.1, 0.1]], None)
    ```
    """
    gradient = ops.convert_to_tensor(gradient)
    of_factors = ops.expand_dims(direction, 1) * _by_unit(gradient, scaling)
    return of_factors, None if scaling is None else gradient * ops.matmul(direction, factors)


def hyperparameter_gradient(gradients: list[Any], factors: list[Any], scalings: list[Any]) -> Any:
    """The gradient of a loss for the hyperparameters, by the chain rule through the responses of all weights.

    Args:
        gradients: The gradients of the loss for the weights.
        factors: For each weight, as in `weight_response`.
        scalings: For each weight, as in `weight_response`.

    Returns:
        The gradient for the free numbers, shape (number of hyperparameters,).

    Example:

    ```python
    gradients, factors = [np.float32([3.0, 4.0])], [np.float32([[1.0, 2.0]])]
    hyperparameter_gradient(gradients, factors, [None])  # [11.0]
    ```
    """
    parts = zip(gradients, factors, scalings, strict=True)
    return sum(ops.matmul(of_weight, _by_unit(gradient, scaling)) for gradient, of_weight, scaling in parts)


def _by_unit(gradient: Any, scaling: Any) -> Any:
    """The sum over all axes but the last one, shape (units,)."""
    product = gradient if scaling is None else gradient * ops.convert_to_tensor(scaling)
    return ops.sum(ops.reshape(product, (-1, product.shape[-1])), axis=0)
