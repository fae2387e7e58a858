"""Measures of collapse, which show whether representations of different samples still differ.

References:
    - Roy and Vetterli, 2007: The effective rank: A measure of effective dimensionality, EUSIPCO
    - [Wang and Isola, 2020](https://arxiv.org/abs/2005.10242): Understanding Contrastive Representation Learning
      through Alignment and Uniformity on the Hypersphere, section 4.1.2 (uniformity)
"""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32


def feature_deviation(features: Tensor) -> Tensor:
    """Computes the standard deviation of each dimension over the samples.

    Args:
        features: Tensor. Features of shape (samples, dimensions).

    Returns:
        The deviations, shape (dimensions,). A dimension that is equal for all samples has a deviation of 0.

    Example:

    ```python
    feature_deviation(np.float32([[1, 0], [1, 2]]))  # [0, 1]
    ```
    """
    return ops.std(at_least_float32(features), axis=0)


def effective_rank(features: Tensor) -> Tensor:
    """Computes the number of directions in which features vary: exp of the entropy of their singular values' shares.

    Args:
        features: Tensor. Features of shape (samples, dimensions). Their mean is subtracted.

    Returns:
        A scalar. It is k if features vary equally in k orthogonal directions, 1 if they vary along one line, and 0 if
        all samples are equal.

    Example:

    ```python
    features = np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]])
    keras_reg.ops.effective_rank(features)  # 2.0
    ```

    Reference:
        - Roy and Vetterli, 2007: The effective rank: A measure of effective dimensionality, EUSIPCO
    """
    features = at_least_float32(features)
    centered = features - ops.mean(features, axis=0)
    singular = ops.svd(centered, compute_uv=False)
    # The rounding errors of equal rows do not count as a direction.
    precision = 1e-5 if keras.backend.standardize_dtype(features.dtype) == "float32" else 1e-10
    varied = singular > precision * ops.max(ops.abs(features)) * math.sqrt(features.shape[0])
    singular = ops.where(varied, singular, ops.zeros_like(singular))
    return rank_of_spectrum(singular)


def rank_of_spectrum(singular: Tensor) -> Tensor:
    """Computes the effective rank of a matrix from its singular values: exp of the entropy of their shares.

    The rank of zeros is 0.
    """
    singular = ops.convert_to_tensor(singular)
    total = ops.sum(singular)
    shares = singular / ops.where(total > 0, total, ops.ones_like(total))
    entropy = -ops.sum(shares * ops.log(ops.where(shares > 0, shares, ops.ones_like(shares))))
    return ops.where(total > 0, ops.exp(entropy), ops.zeros_like(entropy))


def uniformity(features: Tensor, temperature: float = 2.0) -> Tensor:
    """Computes how evenly directions fill the sphere: log of the mean over pairs of exp(-temperature * distance**2).

    Args:
        features: Tensor. Features of shape (samples, dimensions), with at least two samples. They are scaled to
            length 1.
        temperature: Float. The factor t of the squared distances, above 0. Defaults to `2.0`.

    Returns:
        A scalar of at most 0, which is 0 if all directions are equal. Lower values are more uniform.

    Example:

    ```python
    uniformity(np.float32([[1, 0], [-2, 0]]))  # -8.0: squared distance 4
    ```
    """
    features = at_least_float32(features)
    length = ops.sqrt(ops.sum(ops.square(features), axis=1, keepdims=True))
    directions = features / ops.where(length > 0, length, ops.ones_like(length))
    samples = features.shape[0]
    cosines = ops.matmul(directions, ops.transpose(directions))
    others = 1.0 - ops.eye(samples, dtype=directions.dtype)
    squares = ops.maximum(2.0 - 2.0 * cosines, 0.0)
    return ops.log(ops.sum(others * ops.exp(-temperature * squares)) / (samples * (samples - 1)))
