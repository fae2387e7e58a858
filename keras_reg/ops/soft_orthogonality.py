"""Orthogonality of matrices.

W is a kernel as a matrix (inputs, outputs). G is the Gram matrix of its columns, or of its rows if there are fewer.

References:
    - [Bansal et al., 2018](https://arxiv.org/abs/1810.09102): Can We Gain More from Orthogonality Regularizations in
      Training Deep CNNs?
    - [Ricci et al., 2025](https://arxiv.org/abs/2509.16664): lambda-Orthogonality Regularization for Compatible
      Representation Learning (the relaxed form)
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import absolute, as_matrix, distance_to_identity, smaller_gram, square_root


def soft_orthogonality(kernel: Tensor) -> Tensor:
    """Computes the squared distance of a kernel to an orthogonal matrix, ||G - I||^2.

    The paper's "double" form also adds the other Gram matrix. It is twice this penalty plus a constant.

    Args:
        kernel: Tensor. A kernel (..., outputs). All axes but the last are inputs.

    Returns:
        The penalty, a scalar.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel = 2.0 * np.eye(3, dtype="float32")
    float(keras_reg.ops.soft_orthogonality(kernel))  # 27.0
    ```

    Reference:
        - [Bansal et al., 2018](https://arxiv.org/abs/1810.09102): Can We Gain More from Orthogonality Regularizations
          in Training Deep CNNs?
    """
    return ops.sum(ops.square(distance_to_identity(smaller_gram(as_matrix(kernel)))))


def relaxed_orthogonality(squared_distance: Tensor, threshold: float, sharpness: float = 1.0) -> Tensor:
    """Computes the distance to orthogonality, which fades out below a threshold: sigmoid(a (n - t)) n.

    Args:
        squared_distance: Tensor. The squared distance n^2, for example `soft_orthogonality(kernel)`.
        threshold: Float. The distance t that is close enough. The paper calls it lambda.
        sharpness: Float. The factor a. With larger factors, the penalty fades out more abruptly. Defaults to `1.0`.

    Returns:
        The penalty, a scalar. Its gradient is 0 where n is 0.

    Example:

    ```python
    penalty = relaxed_orthogonality(np.float32(4.0), threshold=2.0)
    float(penalty)  # 1.0
    ```

    Reference:
        - [Ricci et al., 2025](https://arxiv.org/abs/2509.16664): lambda-Orthogonality Regularization for Compatible
          Representation Learning
    """
    distance = square_root(ops.convert_to_tensor(squared_distance))
    return ops.sigmoid(sharpness * (distance - threshold)) * distance


def mutual_coherence(kernel: Tensor) -> Tensor:
    """Computes the largest entry of |W^T W - I|.

    It measures how similar two outputs are, or how far the length of an output is from 1.

    Args:
        kernel: Tensor. A kernel (..., outputs).

    Returns:
        The penalty, a scalar. Only the columns count, even if there are more columns than rows.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel = np.array([[1.0, 0.6], [0.0, 0.8]], "float32")
    float(mutual_coherence(kernel))  # 0.6
    ```
    """
    matrix = as_matrix(kernel)
    return ops.max(absolute(distance_to_identity(ops.transpose(matrix) @ matrix)))


def spectral_isometry(kernel: Tensor, start: Tensor | None = None, steps: int = 1) -> Tensor:
    """Computes the squared largest singular value of G - I by power iteration.

    It measures how far W is from keeping lengths. The gradient flows through the iteration, as in the authors' code for
    wide residual networks.

    Args:
        kernel: Tensor. A kernel (..., outputs).
        start: Tensor. The vector that starts the iteration, as long as G. The authors draw a new one in each step.
            Defaults to `None`, which means a fixed vector, because a regularizer cannot keep random state.
        steps: Integer. The number of iterations before the last product, at least 1. The authors use 1. Defaults to
            `1`.

    Returns:
        The penalty, a scalar, at most the square of the true value.

    Raises:
        ValueError: If the kernel has fewer than two dimensions.

    Example:

    ```python
    kernel = 2.0 * np.eye(3, dtype="float32")
    float(spectral_isometry(kernel))  # 9.0
    ```
    """
    difference = distance_to_identity(smaller_gram(as_matrix(kernel)))
    size = difference.shape[-1]
    if start is None:
        # An eigenvector of a kernel is unlikely to be orthogonal to this vector.
        start = ops.cos(ops.cast(ops.arange(1, size + 1), difference.dtype) ** 2)
    vector = ops.reshape(ops.cast(start, difference.dtype), (size, 1))
    for _ in range(steps):
        vector = difference @ vector
        length = square_root(ops.sum(ops.square(vector)))
        vector = vector / ops.where(length > 0, length, ops.ones_like(length))
    return ops.sum(ops.square(difference @ vector))
