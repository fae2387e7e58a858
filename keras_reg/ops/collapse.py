"""Measures of collapse: whether representations of different samples are still different.

Per-dimension deviations; the effective rank of Roy and Vetterli (EUSIPCO 2007); the uniformity of Wang and Isola,
Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere, arXiv 2005.10242,
2020, section 4.1.2.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg.ops._numerics import at_least_float32


def feature_deviation(features: Any) -> Any:
    """The standard deviation of each dimension over the samples.

    Args:
        features: Shape (samples, dimensions).

    Returns:
        Shape (dimensions,). Zeros where a dimension is the same for all.

    Example:

    ```python
    feature_deviation(np.float32([[1, 0], [1, 2]]))  # [0, 1]
    ```
    """
    return ops.std(at_least_float32(features), axis=0)


def effective_rank(features: Any) -> Any:
    """How many directions the features vary in: exp of the entropy of their singular values' shares.

    Args:
        features: Shape (samples, dimensions). Their mean is subtracted.

    Returns:
        A scalar: k if they vary equally in k orthogonal directions, 1 if along one line, 0 if all are the same.

    Example:

    ```python
    keras_reg.ops.effective_rank(np.float32([[1, 0], [-1, 0], [0, 1], [0, -1]]))  # 2.0
    ```
    """
    features = at_least_float32(features)
    centered = features - ops.mean(features, axis=0)
    singular = ops.svd(centered, compute_uv=False)
    # Rounding errors of equal rows are no direction.
    precision = 1e-5 if keras.backend.standardize_dtype(features.dtype) == "float32" else 1e-10
    varied = singular > precision * ops.max(ops.abs(features)) * math.sqrt(features.shape[0])
    singular = ops.where(varied, singular, ops.zeros_like(singular))
    return rank_of_spectrum(singular)


def rank_of_spectrum(singular: Any) -> Any:
    """The effective rank of a matrix with these singular values: exp of the entropy of their shares; 0 for zeros."""
    singular = ops.convert_to_tensor(singular)
    total = ops.sum(singular)
    shares = singular / ops.where(total > 0, total, ops.ones_like(total))
    entropy = -ops.sum(shares * ops.log(ops.where(shares > 0, shares, ops.ones_like(shares))))
    return ops.where(total > 0, ops.exp(entropy), ops.zeros_like(entropy))


def uniformity(features: Any, temperature: float = 2.0) -> Any:
    """How evenly directions fill the sphere: log of the mean over pairs of exp(-temperature * squared distance).

    Args:
        features: Shape (samples, dimensions), at least two samples. They are scaled to length 1.
        temperature: t, above 0.

    Returns:
        A scalar of at most 0, and 0 if all directions are the same. Lower is more uniform.

    Example:

    ```python
    uniformity(np.float32([[1, 0], [-2, 0]]))  # -8.0: opposite, squared distance 4
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
