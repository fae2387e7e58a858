"""Orthogonality of matrices: Bansal, Chen, Wang, Can We Gain More from Orthogonality Regularizations? (1810.09102).

W is a kernel as a matrix (inputs, outputs), and G the Gram matrix of its columns, or of its rows if there are fewer of
them. The relaxed form is from Ricci et al., lambda-Orthogonality Regularization (arXiv 2509.16664).
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import absolute, as_matrix, distance_to_identity, smaller_gram, square_root


def soft_orthogonality(kernel: Any) -> Any:
    """The squared distance of a kernel to an orthogonal matrix, ||G - I||^2.

    The paper's "double" form, which adds the other Gram matrix, is twice this and a constant.

    Args:
        kernel: A kernel (..., outputs); all axes but the last are inputs.

    Returns:
        The penalty, a scalar.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    float(keras_reg.ops.soft_orthogonality(2.0 * np.eye(3, dtype="float32")))  # 27.0
    ```
    """
    return ops.sum(ops.square(distance_to_identity(smaller_gram(as_matrix(kernel)))))


def relaxed_orthogonality(squared_distance: Any, threshold: float, sharpness: float = 1.0) -> Any:
    """The distance to orthogonality, faded out where it is below a threshold: sigmoid(a (n - t)) n.

    Args:
        squared_distance: n^2, for example `soft_orthogonality(kernel)`.
        threshold: t, the distance that is near enough. The paper calls it lambda.
        sharpness: a, how abruptly the penalty fades out.

    Returns:
        The penalty, a scalar. Its gradient is 0 where n is 0.

    Example:

    ```python
    float(relaxed_orthogonality(np.float32(4.0), threshold=2.0))  # 1.0
    ```
    """
    distance = square_root(ops.convert_to_tensor(squared_distance))
    return ops.sigmoid(sharpness * (distance - threshold)) * distance


def mutual_coherence(kernel: Any) -> Any:
    """The largest entry of |W^T W - I|: how alike two outputs are, or how far the length of one is from 1.

    Args:
        kernel: A kernel (..., outputs).

    Returns:
        The penalty, a scalar. Only the columns count, also where there are more of them than rows.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    float(mutual_coherence(np.array([[1.0, 0.6], [0.0, 0.8]], "float32")))  # 0.6
    ```
    """
    matrix = as_matrix(kernel)
    return ops.max(absolute(distance_to_identity(ops.transpose(matrix) @ matrix)))


def spectral_isometry(kernel: Any, start: Any = None, steps: int = 1) -> Any:
    """The squared largest singular value of G - I, by power iteration: how far W is from keeping lengths.

    As in the authors' code for wide residual networks, the gradient flows through the iteration.

    Args:
        kernel: A kernel (..., outputs).
        start: The vector that the iteration begins with, as long as G. The authors draw it anew at each step; `None`
            is a fixed one, because a regularizer can keep no random state.
        steps: The number of iterations before the last product, at least 1. The authors take 1.

    Returns:
        The penalty, a scalar, at most the square of the true value.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    float(spectral_isometry(2.0 * np.eye(3, dtype="float32")))  # 9.0
    ```
    """
    difference = distance_to_identity(smaller_gram(as_matrix(kernel)))
    size = difference.shape[-1]
    if start is None:
        # No eigenvector of a kernel is likely to be orthogonal to this.
        start = ops.cos(ops.cast(ops.arange(1, size + 1), difference.dtype) ** 2)
    vector = ops.reshape(ops.cast(start, difference.dtype), (size, 1))
    for _ in range(steps):
        vector = difference @ vector
        length = square_root(ops.sum(ops.square(vector)))
        vector = vector / ops.where(length > 0, length, ops.ones_like(length))
    return ops.sum(ops.square(difference @ vector))
