"""The nuclear norm, the sum of the singular values: Xu et al., Trained Rank Pruning (arXiv 1812.02402)."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import as_matrix, square_root


def nuclear_norm(kernel: Any, steps: int = 20) -> Any:
    """The sum of the singular values of a kernel, and its subgradient U V^T, without a decomposition.

    With the polar factor P = U V^T, the norm is <W, P> and its gradient P. P comes from Newton-Schulz iteration,
    X <- 1.5 X - 0.5 X X^T X, which is products of matrices only: fast on accelerators and under XLA, where singular
    value decompositions are slow.

    Args:
        kernel: A kernel (..., outputs), as a matrix (everything else, outputs).
        steps: The number of iterations. 20 make singular values above 1e-3 of the Frobenius norm right, 30 those above
            1e-4. Smaller ones are counted in part: a norm that is smooth around 0.

    Returns:
        The norm, a scalar. Its gradient at 0 is 0.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    float(keras_reg.ops.nuclear_norm(np.diag([3.0, 4.0]).astype("float32")))  # 7.0
    ```
    """
    matrix = as_matrix(kernel)
    return ops.sum(matrix * ops.stop_gradient(polar_factor(matrix, steps)))


def polar_factor(matrix: Any, steps: int = 20) -> Any:
    """U V^T of a matrix with the singular value decomposition U S V^T, by Newton-Schulz iteration.

    Args:
        matrix: A matrix.
        steps: The number of iterations.

    Returns:
        A matrix of the same shape; zeros for zeros.

    Example:

    ```python
    polar_factor(np.diag([3.0, -4.0]).astype("float32"))  # diag(1, -1)
    ```
    """
    matrix = ops.convert_to_tensor(matrix)
    rows, columns = matrix.shape
    if rows < columns:
        return ops.transpose(polar_factor(ops.transpose(matrix), steps))
    # All singular values below 1: from there the iteration draws each to 1. The largest entry first, because squares
    # of very small or very large entries are no float32.
    largest = ops.max(ops.abs(matrix))
    x = matrix / ops.where(largest > 0, largest, ops.ones_like(largest))
    length = square_root(ops.sum(ops.square(x)))
    x = x / ops.where(length > 0, length, ops.ones_like(length))
    for _ in range(steps):
        x = 1.5 * x - 0.5 * (x @ (ops.transpose(x) @ x))
    return x
