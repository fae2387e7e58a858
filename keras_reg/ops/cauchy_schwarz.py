"""The Cauchy-Schwarz mutual information: Yu et al., Cauchy-Schwarz Divergence Information Bottleneck for Regression.

arXiv 2404.17951, 2024, the quadratic mutual information between inputs and representation.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg.ops._numerics import as_rows, squared_distances


def cauchy_schwarz_information(x: Any, t: Any, x_bandwidth: float = 1.0, t_bandwidth: float = 1.0) -> Any:
    """The Cauchy-Schwarz quadratic mutual information of two batches, in nats.

    With Gaussian kernel matrices K of x and Q of t, exp(-|x_i - x_j|^2 / (2 bandwidth^2)), and N samples, it is
    log(sum(K * Q) / N^2) + log(sum(K) sum(Q) / N^4) - 2 log(sum_i (K 1)_i (Q 1)_i / N^3): at least 0, and 0 where the
    kernels see no dependence.

    Args:
        x: The one, shape (batch, ...).
        t: The other, shape (batch, ...).
        x_bandwidth: The width of the kernel of x, above 0, in the units of its distances.
        t_bandwidth: That of t.

    Returns:
        The mutual information, a scalar, in float32 at least.

    Example:

    ```python
    x = np.random.normal(size=(32, 2))
    keras_reg.ops.cauchy_schwarz_information(x, x)  # above 0
    ```
    """
    k, q = _kernel(x, x_bandwidth), _kernel(t, t_bandwidth)
    joint = ops.log(ops.sum(k * q))
    marginals = ops.log(ops.sum(k)) + ops.log(ops.sum(q))
    # The powers of N cancel.
    return joint + marginals - 2 * ops.log(ops.sum(ops.sum(k, axis=0) * ops.sum(q, axis=0)))


def _kernel(x: Any, bandwidth: float) -> Any:
    return ops.exp(-squared_distances(as_rows(x)) / (2 * bandwidth**2))
