"""Dispersive losses: Wang, He, Diffuse and Disperse: Image Generation with Representation Regularization.

arXiv 2506.09027, 2025. A representation z_i of each sample of a batch is drawn away from all others, as by a
contrastive loss without positive pairs.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import as_rows, square_root, squared_distances

KINDS = ("l2", "cosine", "hinge", "covariance")


def dispersive_loss(z: Any, kind: str = "l2", temperature: float = 0.5, margin: float = 1.0) -> Any:
    """How close the representations of a batch are to each other.

    With d features and D_ij = |z_i - z_j|^2 / d, as in the authors' code, means over all i and j, i = j included:

    - `"l2"`: log mean exp(-D / temperature).
    - `"cosine"`: log mean exp(cos(z_i, z_j) / temperature).
    - `"hinge"`: mean max(0, margin - D)^2, here without i = j, which would add a constant.
    - `"covariance"`: the sum of the squared covariances of different features, after each z_i was scaled to length 1.

    Args:
        z: Representations, shape (batch, ...); all but the first axis are features.
        kind: `"l2"`, `"cosine"`, `"hinge"` or `"covariance"`.
        temperature: The scale of the exponential, above 0, for `"l2"` and `"cosine"`.
        margin: From which D on two representations do not repel each other, for `"hinge"`.

    Returns:
        The loss, a scalar, in float32 at least.

    Example:

    ```python
    keras_reg.ops.dispersive_loss(np.array([[1.0, 0.0], [0.0, 1.0]]), temperature=1.0)  # log((2 + 2 / e) / 4)
    ```
    """
    z = as_rows(z)
    samples = ops.cast(ops.shape(z)[0], z.dtype)
    if kind == "l2":
        return _log_mean_exp(-_distances(z) / temperature, samples)
    if kind == "hinge":
        others = 1 - ops.eye(ops.shape(z)[0], dtype=z.dtype)
        close = ops.square(ops.relu(margin - _distances(z)))
        return ops.sum(others * close) / _or_one(samples * (samples - 1))
    z = z / _or_one(square_root(ops.sum(z * z, axis=-1, keepdims=True)))  # rows of zeros stay zeros
    if kind == "cosine":
        return _log_mean_exp(z @ ops.transpose(z) / temperature, samples)
    centered = z - ops.sum(z, axis=0) / samples
    covariance = ops.transpose(centered) @ centered / _or_one(samples - 1)
    return ops.sum(ops.square(covariance)) - ops.sum(ops.square(ops.diagonal(covariance)))


def _distances(z: Any) -> Any:
    """Squared distances per feature."""
    return squared_distances(z) / ops.cast(ops.shape(z)[-1], z.dtype)


def _log_mean_exp(x: Any, samples: Any) -> Any:
    return ops.logsumexp(x) - 2 * ops.log(samples)


def _or_one(x: Any) -> Any:
    """What to divide by, 1 for 0; `ops.maximum` with a number would be float32 on PyTorch."""
    return ops.where(x > 0, x, ops.ones_like(x))
