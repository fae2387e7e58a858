"""Dispersive losses, which move the representations of a batch apart.

The loss moves the representation z_i of each sample away from all others, as a contrastive loss without positive pairs
does.

Reference:
    - [Wang and He, 2025](https://arxiv.org/abs/2506.09027): Diffuse and Disperse: Image Generation with Representation
      Regularization
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import as_rows, square_root, squared_distances

KINDS = ("l2", "cosine", "hinge", "covariance")


def dispersive_loss(z: Tensor, kind: str = "l2", temperature: float = 0.5, margin: float = 1.0) -> Tensor:
    """Computes how close the representations of a batch are to each other.

    There are d features, and D_ij = |z_i - z_j|^2 / d, as in the authors' code. Means are over all i and j, with i = j
    included:

    - `"l2"`: log mean exp(-D / temperature).
    - `"cosine"`: log mean exp(cos(z_i, z_j) / temperature).
    - `"hinge"`: mean max(0, margin - D)^2. This mean leaves out i = j, which would add a constant.
    - `"covariance"`: the sum of the squared covariances of different features, after scaling each z_i to length 1.

    Args:
        z: Tensor. Representations, shape (batch, ...). All axes but the first are features.
        kind: String. `"l2"`, `"cosine"`, `"hinge"` or `"covariance"`. Defaults to `"l2"`.
        temperature: Float. The scale of the exponential, above 0, for `"l2"` and `"cosine"`. Defaults to `0.5`.
        margin: Float. The value of D from which on two representations no longer repel each other, for `"hinge"`.
            Defaults to `1.0`.

    Returns:
        The loss, a scalar, in float32 or wider.

    Example:

    ```python
    z = np.array([[1.0, 0.0], [0.0, 1.0]])
    loss = keras_reg.ops.dispersive_loss(z, temperature=1.0)
    loss  # log((2 + 2 / e) / 4)
    ```

    Reference:
        - [Wang and He, 2025](https://arxiv.org/abs/2506.09027): Diffuse and Disperse: Image Generation with
          Representation Regularization
    """
    z = as_rows(z)
    samples = ops.cast(ops.shape(z)[0], z.dtype)
    if kind == "l2":
        return _log_mean_exp(-_distances_per_feature(z) / temperature, samples)
    if kind == "hinge":
        others = 1 - ops.eye(ops.shape(z)[0], dtype=z.dtype)
        close = ops.square(ops.relu(margin - _distances_per_feature(z)))
        return ops.sum(others * close) / _replace_zero_by_one(samples * (samples - 1))
    z = z / _replace_zero_by_one(square_root(ops.sum(z * z, axis=-1, keepdims=True)))  # Rows of zeros stay zeros.
    if kind == "cosine":
        return _log_mean_exp(z @ ops.transpose(z) / temperature, samples)
    centered = z - ops.sum(z, axis=0) / samples
    covariance = ops.transpose(centered) @ centered / _replace_zero_by_one(samples - 1)
    return ops.sum(ops.square(covariance)) - ops.sum(ops.square(ops.diagonal(covariance)))


def _distances_per_feature(z: Tensor) -> Tensor:
    """Computes the squared distances of all pairs, divided by the number of features."""
    return squared_distances(z) / ops.cast(ops.shape(z)[-1], z.dtype)


def _log_mean_exp(x: Tensor, samples: Tensor) -> Tensor:
    return ops.logsumexp(x) - 2 * ops.log(samples)


def _replace_zero_by_one(x: Tensor) -> Tensor:
    """Replaces 0 by 1 in a divisor. `ops.maximum` with a number would return float32 on PyTorch."""
    return ops.where(x > 0, x, ops.ones_like(x))
