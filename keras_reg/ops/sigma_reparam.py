"""Sigma reparameterization.

The effective weight is W^ = (gamma / sigma(W)) W, with sigma the largest singular value and gamma a trained scalar. One
step of power iteration in each forward pass updates the singular vector.

Reference:
    - [Zhai et al., 2023](https://arxiv.org/abs/2303.06296): Stabilizing Transformer Training by Preventing Attention
      Entropy Collapse
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import at_least_float32

# Lengths are clipped to at least this number before a division.
SMALLEST_LENGTH = 1e-12
# Singular values are clipped to at least this number, so that a matrix of zeros, with which some layers start, has a
# gradient.
SMALLEST_SIGMA = 1e-6


def spectral_norm_step(matrix: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
    """Takes one step of power iteration for the largest singular value.

    Args:
        matrix: Tensor. A matrix of shape (inputs, outputs).
        vector: Tensor. The current singular vector on the side of the inputs, shape (inputs,).

    Returns:
        The singular value, at least 1e-6, whose gradient flows through the matrix alone, and the next vector, without
        gradient. The next vector is the current one if the matrix is zero. Both are float32 or wider.

    Example:

    ```python
    matrix, vector = np.diag([3.0, 1.0]), np.array([1.0, 0.0])
    sigma, vector = spectral_norm_step(matrix, vector)  # 3, [1, 0]
    ```
    """
    matrix, vector = at_least_float32(matrix), ops.stop_gradient(at_least_float32(vector))
    fixed = ops.stop_gradient(matrix)
    outputs = _normalize(ops.matmul(vector[None], fixed))
    inputs = _normalize(ops.matmul(outputs, ops.transpose(fixed)))
    sigma = ops.maximum(ops.sum(ops.matmul(inputs, matrix) * outputs), SMALLEST_SIGMA)
    return sigma, ops.where(ops.any(inputs != 0), inputs[0], vector)


def top_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Computes the largest singular value of a matrix and its vector on the side of the inputs.

    It uses the eigenvectors of the smaller Gram matrix, which is cheaper than all singular values.

    Args:
        matrix: Tensor. A matrix of shape (inputs, outputs).

    Returns:
        The singular value, a scalar of at least 1e-6, and the vector, shape (inputs,), of either sign. For zeros, the
        vector is arbitrary. Both are float32 or wider.

    Example:

    ```python
    sigma, vector = top_singular(np.diag([3.0, 1.0]))  # 3, [1, 0]
    ```
    """
    matrix = at_least_float32(matrix)
    inputs, outputs = matrix.shape
    transposed = ops.transpose(matrix)
    wide = inputs <= outputs
    gram = ops.matmul(matrix, transposed) if wide else ops.matmul(transposed, matrix)
    vector = ops.eigh(gram)[1][:, -1:]
    if not wide:
        vector = ops.matmul(matrix, vector)
    vector = _normalize(ops.transpose(vector))
    image = ops.matmul(vector, matrix)
    sigma = ops.sqrt(ops.sum(image * image))
    # The vector for a matrix of zeros must not be orthogonal to what the matrix becomes. This vector has a component
    # along each input, and along their mean.
    ramp = _normalize(ops.arange(1, inputs + 1, dtype=matrix.dtype))
    return ops.maximum(sigma, SMALLEST_SIGMA), ops.where(sigma > 0, vector[0], ramp)


def _normalize(row: Tensor) -> Tensor:
    return row / ops.maximum(ops.sqrt(ops.sum(row * row)), SMALLEST_LENGTH)
