"""What functions share: kernels and batches as matrices, distances, and norms whose gradient is finite at zero."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


def at_least_float32(x: Any) -> Any:
    """A tensor, float32 where it is float16 or bfloat16: sums of squares overflow in the one, vanish in the other."""
    x = ops.convert_to_tensor(x)
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16") else x


def as_matrix(kernel: Any) -> Any:
    """A kernel (..., inputs, outputs) as the matrix (everything else, outputs)."""
    kernel = at_least_float32(kernel)
    if len(kernel.shape) < 2:
        raise ValueError(
            "The penalty is for kernels of two dimensions or more, not for biases or scales. "
            f"Received: a variable of shape {tuple(kernel.shape)}"
        )
    return ops.reshape(kernel, (-1, kernel.shape[-1]))


def smaller_gram(matrix: Any) -> Any:
    """The products of the columns with each other, or of the rows if there are fewer of them."""
    rows, columns = matrix.shape
    transposed = ops.transpose(matrix)
    # Not `ops.matmul`, which is float32 with PyTorch even where its arguments are float64.
    return transposed @ matrix if columns <= rows else matrix @ transposed


def distance_to_identity(gram: Any) -> Any:
    """A Gram matrix minus the identity."""
    return gram - ops.eye(gram.shape[-1], dtype=gram.dtype)


def square_root(x: Any) -> Any:
    """The square root, whose gradient at 0 is 0 and not infinite."""
    positive = x > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, x, ops.ones_like(x))), ops.zeros_like(x))


def absolute(x: Any) -> Any:
    """The absolute value, whose gradient at 0 is 0 on every backend (`ops.abs` gives 1 with JAX)."""
    return x * ops.stop_gradient(ops.sign(x))


def as_rows(x: Any) -> Any:
    """A batch (batch, ...) as one row of features for each sample."""
    x = at_least_float32(x)
    # Where other axes than the batch are known when the step runs only, as with TensorFlow, features are counted then.
    return ops.reshape(x, (ops.shape(x)[0], -1) if None in x.shape[1:] else (-1, math.prod(x.shape[1:])))


def squared_distances(rows: Any) -> Any:
    """The squared distances of rows, from their products: there is no array of (rows, rows, features)."""
    # Around their mean numbers are smaller, and round less; distances do not depend on it.
    rows = rows - ops.stop_gradient(ops.sum(rows, axis=0) / ops.cast(ops.shape(rows)[0], rows.dtype))
    squares = ops.sum(rows * rows, axis=-1)
    return ops.relu(squares[:, None] + squares[None, :] - 2 * (rows @ ops.transpose(rows)))
