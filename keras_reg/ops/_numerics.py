"""Numerical helpers that several functions share: matrices, distances, and norms with a finite gradient at zero."""

from __future__ import annotations

import math

import keras
from keras import ops

from keras_reg._types import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Converts to a tensor, and casts float16 and bfloat16 to float32.

    Sums of squares overflow in float16, and their small terms vanish in bfloat16.
    """
    x = ops.convert_to_tensor(x)
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16") else x


def as_matrix(kernel: Tensor) -> Tensor:
    """Reshapes a kernel (..., inputs, outputs) to the matrix (everything else, outputs).

    Raises:
        ValueError: If the kernel has fewer than two dimensions.
    """
    kernel = at_least_float32(kernel)
    if len(kernel.shape) < 2:
        raise ValueError(
            "The penalty needs a kernel of two or more dimensions, not a bias or a scale. "
            f"Received: a variable of shape {tuple(kernel.shape)}"
        )
    return ops.reshape(kernel, (-1, kernel.shape[-1]))


def smaller_gram(matrix: Tensor) -> Tensor:
    """Computes the products of the columns with each other, or of the rows if there are fewer rows."""
    rows, columns = matrix.shape
    transposed = ops.transpose(matrix)
    # `ops.matmul` computes in float32 on PyTorch, even if its arguments are float64.
    return transposed @ matrix if columns <= rows else matrix @ transposed


def distance_to_identity(gram: Tensor) -> Tensor:
    """Subtracts the identity from a Gram matrix."""
    return gram - ops.eye(gram.shape[-1], dtype=gram.dtype)


def square_root(x: Tensor) -> Tensor:
    """Computes the square root, with the gradient 0 instead of infinity at 0."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, ops.ones_like(x))), ops.zeros_like(x))


def absolute(x: Tensor) -> Tensor:
    """Computes the absolute value, with the gradient 0 at 0 on every backend.

    On JAX, the gradient of `ops.abs` at 0 is 1.
    """
    return x * ops.stop_gradient(ops.sign(x))


def as_rows(x: Tensor) -> Tensor:
    """Reshapes a batch (batch, ...) to one row of features per sample."""
    x = at_least_float32(x)
    # On TensorFlow, axes other than the batch may have sizes that are known only when the step runs. The number of
    # features is then computed in the step.
    return ops.reshape(x, (ops.shape(x)[0], -1) if None in x.shape[1:] else (-1, math.prod(x.shape[1:])))


def squared_distances(rows: Tensor) -> Tensor:
    """Computes the squared distances of all pairs of rows, without an array of shape (rows, rows, features)."""
    # Distances do not depend on the mean. Without the mean, the numbers and their rounding errors are smaller.
    rows = rows - ops.stop_gradient(ops.sum(rows, axis=0) / ops.cast(ops.shape(rows)[0], rows.dtype))
    squares = ops.sum(rows * rows, axis=-1)
    return ops.relu(squares[:, None] + squares[None, :] - 2 * (rows @ ops.transpose(rows)))
