"""Sigma reparameterization: Zhai et al., Stabilizing Transformer Training by Preventing Attention Entropy Collapse.

arXiv 2303.06296, 2023. The effective weight is W^ = (gamma / sigma(W)) W, with sigma the largest singular value and
gamma a trained scalar. The singular vector is followed by one step of power iteration for each forward pass.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import at_least_float32

# Lengths are taken to be at least this.
SMALLEST_LENGTH = 1e-12
# Singular values likewise, so that a matrix of zeros, with which some layers begin, has a gradient.
SMALLEST_SIGMA = 1e-6


def spectral_norm_step(matrix: Any, vector: Any) -> tuple[Any, Any]:
    """One step of power iteration for the largest singular value.

    Args:
        matrix: Shape (inputs, outputs).
        vector: The present singular vector on the side of the inputs, shape (inputs,).

    Returns:
        The singular value, 1e-6 at least, whose gradient flows through the matrix alone, and the next vector, without
        gradient: the present one if the matrix is zero. Both are float32 at least.

    Example:

    ```python
    sigma, vector = spectral_norm_step(np.diag([3.0, 1.0]), np.array([1.0, 0.0]))  # 3, [1, 0]
    ```
    """
    matrix, vector = at_least_float32(matrix), ops.stop_gradient(at_least_float32(vector))
    fixed = ops.stop_gradient(matrix)
    outputs = _unit(ops.matmul(vector[None], fixed))
    inputs = _unit(ops.matmul(outputs, ops.transpose(fixed)))
    sigma = ops.maximum(ops.sum(ops.matmul(inputs, matrix) * outputs), SMALLEST_SIGMA)
    return sigma, ops.where(ops.any(inputs != 0), inputs[0], vector)


def top_singular(matrix: Any) -> tuple[Any, Any]:
    """The largest singular value of a matrix and its vector on the side of the inputs.

    It comes from the eigenvectors of the smaller of the two Gram matrices, which is cheaper than all singular values.

    Args:
        matrix: Shape (inputs, outputs).

    Returns:
        The singular value, a scalar, 1e-6 at least, and the vector, shape (inputs,), of either sign: any one for zeros.
        Both are float32 at least.

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
    vector = _unit(ops.transpose(vector))
    image = ops.matmul(vector, matrix)
    sigma = ops.sqrt(ops.sum(image * image))
    # For a matrix of zeros a vector that has a part of whatever it becomes: of each input, and of their mean.
    ramp = _unit(ops.arange(1, inputs + 1, dtype=matrix.dtype))
    return ops.maximum(sigma, SMALLEST_SIGMA), ops.where(sigma > 0, vector[0], ramp)


def _unit(row: Any) -> Any:
    return row / ops.maximum(ops.sqrt(ops.sum(row * row)), SMALLEST_LENGTH)
