"""The generalized Gaussian prior of weights.

The negative logarithm of the prior of shape v is sum(|w|**v) up to factors. The prior with v = 2 is weight decay, and
the prior with v = 1 is the lasso. With v below 1, the prior pulls small weights to 0 more strongly than large ones.

Reference:
    - [Wu et al., 2025](https://arxiv.org/abs/2504.16968): BackSlash: Rate Constrained Optimized Training of Large
      Language Models
"""

from __future__ import annotations

import functools
import math

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import absolute, at_least_float32


def generalized_gaussian_penalty(weights: Tensor, shape: float, offset: float = 1.0) -> Tensor:
    """Computes the penalty sum((|w| + c)**v - c**v), whose gradient is v sign(w) (|w| + c)**(v - 1).

    Without the offset c, the gradient is infinite at 0 for shapes below 1. The authors' code has c = 1.

    Args:
        weights: Tensor. The weights w, of any shape.
        shape: Float. The shape v of the prior, above 0.
        offset: Float. The offset c, above 0, or 0 for shapes of at least 1. Defaults to `1.0`.

    Returns:
        The penalty, a scalar, which is 0 for zeros. The gradient at 0 is 0.

    Example:

    ```python
    w = np.float32([3.0, 0.0])
    penalty = keras_reg.ops.generalized_gaussian_penalty(w, shape=0.5)
    float(penalty)  # 1.0
    ```

    Reference:
        - [Wu et al., 2025](https://arxiv.org/abs/2504.16968): BackSlash: Rate Constrained Optimized Training of Large
          Language Models
    """
    size = absolute(at_least_float32(weights))
    # From Keras 3.16 on, `ops.power` computes in float32 on PyTorch, even if the weights are float64.
    if offset == 0.0:
        # The derivative of the power at 0 is not finite on every backend.
        positive = size > 0
        powers = ops.where(positive, size, ops.ones_like(size)) ** shape
        return ops.sum(ops.where(positive, powers, ops.zeros_like(size)))
    return ops.sum((size + offset) ** shape - offset**shape)


def generalized_gaussian_ratio(shape: float) -> float:
    """Computes the ratio E[w**2] / E[|w|]**2 of a generalized Gaussian, G(1/v) G(3/v) / G(2/v)**2.

    The ratio falls with the shape v.

    Args:
        shape: Float. The shape v, above 0.

    Returns:
        The ratio, a Python number. It is pi / 2 for shape 2, and 2 for shape 1.

    Example:

    ```python
    generalized_gaussian_ratio(1.0)  # 2.0
    ```
    """
    return math.exp(math.lgamma(1 / shape) + math.lgamma(3 / shape) - 2 * math.lgamma(2 / shape))


def generalized_gaussian_shape(weights: Tensor | list[Tensor]) -> Tensor:
    """Estimates the shape of the generalized Gaussian that has the ratio E[w**2] / E[|w|]**2 of the weights.

    The ratio does not depend on the scale. The authors take the nearest shape of a table. This function interpolates
    between two shapes of the table.

    Args:
        weights: Tensor, or list of tensors. Weights of any shape. The tensors of a list are treated as one.

    Returns:
        The shape, a scalar between 0.1 and 3. Estimates outside are clipped, as for weights that are distributed evenly
        (3) or almost all 0 (0.1). No gradient flows through it.

    Example:

    ```python
    rng = np.random.default_rng(0)
    normal = rng.normal(size=100_000).astype("float32")
    float(generalized_gaussian_shape(normal))  # about 2.0
    ```
    """
    arrays = weights if isinstance(weights, (list, tuple)) else [weights]
    arrays = [ops.stop_gradient(at_least_float32(array)) for array in arrays]
    # Weights are divided by the largest one, because the squares of very small entries underflow in float32.
    largest = functools.reduce(ops.maximum, [ops.cast(ops.max(ops.abs(w)), arrays[0].dtype) for w in arrays])
    arrays = [ops.cast(w, largest.dtype) / ops.maximum(largest, 1e-30) for w in arrays]
    squares = functools.reduce(ops.add, [ops.sum(ops.square(w)) for w in arrays])
    sizes = functools.reduce(ops.add, [ops.sum(ops.abs(w)) for w in arrays])
    count = float(sum(math.prod(w.shape) for w in arrays))
    ratio = ops.log(squares) + math.log(count) - 2 * ops.log(sizes)
    ratio = ops.where(sizes > 0, ratio, _LOG_RATIOS[0])
    table = ops.convert_to_tensor(_LOG_RATIOS, largest.dtype)
    below = ops.clip(ops.sum(ops.cast(table > ratio, "int32")) - 1, 0, len(_SHAPES) - 2)
    left, right = ops.take(table, below), ops.take(table, below + 1)
    share = ops.clip((left - ratio) / (left - right), 0.0, 1.0)
    return _SHAPES[0] + _STEP * (ops.cast(below, largest.dtype) + share)


_STEP = 0.01
_SHAPES = [0.1 + _STEP * index for index in range(291)]
_LOG_RATIOS = [math.log(generalized_gaussian_ratio(shape)) for shape in _SHAPES]
