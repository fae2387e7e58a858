"""The generalized Gaussian prior of weights: Wu et al., BackSlash: Rate Constrained Optimized Training of LLMs.

arXiv 2504.16968, 2025. The negative logarithm of the prior of shape v is sum(|w|**v) up to factors: with v = 2 weight
decay, with v = 1 the lasso, below it draws small weights to 0 harder than large ones.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from keras import ops

from keras_reg.ops._numerics import absolute, at_least_float32


def generalized_gaussian_penalty(weights: Any, shape: float, offset: float = 1.0) -> Any:
    """The penalty sum((|w| + c)**v - c**v), whose gradient is v sign(w) (|w| + c)**(v - 1).

    Without the offset c the gradient is infinite at 0 for shapes below 1; the authors' code has c = 1.

    Args:
        weights: Weights of any shape.
        shape: v, above 0.
        offset: c, above 0, or 0 for shapes of at least 1.

    Returns:
        The penalty, a scalar, 0 for zeros; the gradient at 0 is 0.

    Example:

    ```python
    float(keras_reg.ops.generalized_gaussian_penalty(np.float32([3.0, 0.0]), shape=0.5))  # 1.0
    ```
    """
    size = absolute(at_least_float32(weights))
    # Not `ops.power`, which from Keras 3.16 on is float32 with PyTorch even where the weights are float64.
    if offset == 0.0:
        # The power of 0 has no finite derivative on every backend.
        positive = size > 0
        powers = ops.where(positive, size, ops.ones_like(size)) ** shape
        return ops.sum(ops.where(positive, powers, ops.zeros_like(size)))
    return ops.sum((size + offset) ** shape - offset**shape)


def generalized_gaussian_ratio(shape: float) -> float:
    """The ratio E[w**2] / E[|w|]**2 of a generalized Gaussian: G(1/v) G(3/v) / G(2/v)**2, which falls with the shape v.

    Args:
        shape: v, above 0.

    Returns:
        The ratio, a Python number: pi / 2 for shape 2, 2 for shape 1.

    Example:

    ```python
    generalized_gaussian_ratio(1.0)  # 2.0
    ```
    """
    return math.exp(math.lgamma(1 / shape) + math.lgamma(3 / shape) - 2 * math.lgamma(2 / shape))


def generalized_gaussian_shape(weights: Any) -> Any:
    """The shape of the generalized Gaussian that has the same ratio E[w**2] / E[|w|]**2 as the weights.

    The ratio does not depend on the scale. The authors look up the nearest of a table of shapes; here what is between
    two of them is interpolated.

    Args:
        weights: An array of any shape, or a list of arrays, which count as one.

    Returns:
        The shape, a scalar between 0.1 and 3; outside of that the nearer of the two, as for weights that are
        distributed evenly (3) or almost all 0 (0.1). No gradient flows through it.

    Example:

    ```python
    normal = np.random.default_rng(0).normal(size=100_000).astype("float32")
    float(generalized_gaussian_shape(normal))  # 2.0, nearly
    ```
    """
    arrays = weights if isinstance(weights, (list, tuple)) else [weights]
    arrays = [ops.stop_gradient(at_least_float32(array)) for array in arrays]
    # Scaled by the largest, because squares of very small entries are no float32.
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
