"""The weight compander.

A weight w is a bounded, odd, S-shaped function of the trained parameter v: w = a atan(v / b) (equation 1). The paper's
two other curves are a erf(v / b) and a asinh(v / b).

Reference:
    - [Cakaj et al., 2023](https://arxiv.org/abs/2306.16993): Weight Compander: A Simple Weight Reparameterization for
      Regularization
"""

from __future__ import annotations

import math

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops.arctan import scaled_arctan

FUNCTIONS = ("arctan", "erf", "asinh")

_SQRT_PI = math.sqrt(math.pi)


def compand_weight(
    parameter: Tensor, a: Tensor | float = 0.7, b: Tensor | float = 0.8, function: str = "arctan"
) -> Tensor:
    """Computes the weight w of a parameter v: a atan(v / b), or a erf(v / b), or a asinh(v / b).

    Args:
        parameter: Tensor. The trained parameter v, of any shape.
        a: Float or tensor. The scale of the weight, a positive scalar. Defaults to `0.7`.
        b: Float or tensor. The scale of the parameter, a positive scalar. The slope at 0 is a / b. Defaults to `0.8`.
        function: String. `"arctan"`, `"erf"` or `"asinh"`. Defaults to `"arctan"`.

    Returns:
        The weight, of the shape and type of the parameter.

    Example:

    ```python
    parameter = np.array([0.0, 0.8, 100.0])
    compand_weight(parameter)  # [0, 0.7 pi / 4, nearly 0.7 pi / 2]
    ```
    """
    if function == "arctan":
        return scaled_arctan(parameter, a, b)
    scaled = ops.convert_to_tensor(parameter) / b
    return a * (ops.erf(scaled) if function == "erf" else ops.arcsinh(scaled))


def weight_compander_slope(
    parameter: Tensor, a: Tensor | float = 0.7, b: Tensor | float = 0.8, function: str = "arctan"
) -> Tensor:
    """Computes the derivative of the weight with respect to its parameter, for arctan a b / (b^2 + v^2) (equation 3).

    Args:
        parameter: Tensor. The trained parameter v, of any shape.
        a: Float or tensor. The scale of the weight, a positive scalar. Defaults to `0.7`.
        b: Float or tensor. The scale of the parameter, a positive scalar. Defaults to `0.8`.
        function: String. `"arctan"`, `"erf"` or `"asinh"`. Defaults to `"arctan"`.

    Returns:
        The slope, positive, of the shape and type of the parameter. At 0 it is a / b (times 2 / sqrt(pi) for erf).

    Example:

    ```python
    weight_compander_slope(np.array([0.0]), a=1.0, b=0.5)  # [2.0]
    ```
    """
    scaled = ops.convert_to_tensor(parameter) / b
    if function == "arctan":
        slope = 1 / (1 + scaled * scaled)
    elif function == "erf":
        slope = (2 / _SQRT_PI) * ops.exp(-scaled * scaled)
    else:
        slope = ops.rsqrt(1 + scaled * scaled)
    return (a / b) * slope


def invert_weight_compander(
    weight: Tensor, a: Tensor | float = 0.7, b: Tensor | float = 0.8, function: str = "arctan"
) -> Tensor:
    """Computes the parameter of a weight (equation 4): b tan(w / a), or b erfinv(w / a), or b sinh(w / a).

    The weight must lie within `weight_compander_bound`. Beyond the bound the tangent wraps around, and the result is
    finite but belongs to another weight. The layer checks the bound. This function does not.

    Args:
        weight: Tensor. The weight w, of any shape.
        a: Float or tensor. The scale of the weight, a positive scalar. Defaults to `0.7`.
        b: Float or tensor. The scale of the parameter, a positive scalar. Defaults to `0.8`.
        function: String. `"arctan"`, `"erf"` or `"asinh"`. Defaults to `"arctan"`.

    Returns:
        The parameter, of the shape and type of the weight.

    Example:

    ```python
    v = invert_weight_compander(np.array([0.5, -0.9]))
    compand_weight(v)  # [0.5, -0.9]
    ```
    """
    scaled = ops.convert_to_tensor(weight) / a
    if function == "arctan":
        return b * ops.tan(scaled)
    return b * (ops.erfinv(scaled) if function == "erf" else ops.sinh(scaled))


def weight_compander_bound(a: float = 0.7, function: str = "arctan") -> float:
    """Returns the bound that no weight reaches: a pi / 2 for arctan, a for erf, and infinity for asinh.

    Args:
        a: Float. The scale of the weight, positive. Defaults to `0.7`.
        function: String. `"arctan"`, `"erf"` or `"asinh"`. Defaults to `"arctan"`.

    Returns:
        The bound on the absolute value of the weight.

    Example:

    ```python
    weight_compander_bound(0.5)  # 0.785
    ```
    """
    return {"arctan": a * math.pi / 2, "erf": a, "asinh": math.inf}[function]
