"""The Cauchy-Schwarz mutual information between inputs and a representation.

Reference:
    - [Yu et al., 2024](https://arxiv.org/abs/2404.17951): Cauchy-Schwarz Divergence Information Bottleneck for
      Regression
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor
from keras_reg.ops._numerics import as_rows, squared_distances


def cauchy_schwarz_information(x: Tensor, t: Tensor, x_bandwidth: float = 1.0, t_bandwidth: float = 1.0) -> Tensor:
    """Computes the Cauchy-Schwarz quadratic mutual information of two batches, in nats.

    K and Q are Gaussian kernel matrices of x and t, exp(-|x_i - x_j|^2 / (2 bandwidth^2)), and N is the number of
    samples. The information is log(sum(K * Q) / N^2) + log(sum(K) sum(Q) / N^4) - 2 log(sum_i (K 1)_i (Q 1)_i / N^3).
    It is at least 0. It is 0 if the kernels detect no dependence.

    Args:
        x: Tensor. The first batch, shape (batch, ...).
        t: Tensor. The second batch, shape (batch, ...).
        x_bandwidth: Float. The width of the kernel of `x`, above 0, in the units of its distances. Defaults to `1.0`.
        t_bandwidth: Float. The width of the kernel of `t`, above 0, in the units of its distances. Defaults to `1.0`.

    Returns:
        The mutual information, a scalar, in float32 or wider.

    Example:

    ```python
    x = np.random.normal(size=(32, 2))
    keras_reg.ops.cauchy_schwarz_information(x, x)  # above 0
    ```

    Reference:
        - [Yu et al., 2024](https://arxiv.org/abs/2404.17951): Cauchy-Schwarz Divergence Information Bottleneck for
          Regression
    """
    k, q = _compute_kernel(x, x_bandwidth), _compute_kernel(t, t_bandwidth)
    joint = ops.log(ops.sum(k * q))
    marginals = ops.log(ops.sum(k)) + ops.log(ops.sum(q))
    # The powers of N cancel.
    return joint + marginals - 2 * ops.log(ops.sum(ops.sum(k, axis=0) * ops.sum(q, axis=0)))


def _compute_kernel(x: Tensor, bandwidth: float) -> Tensor:
    return ops.exp(-squared_distances(as_rows(x)) / (2 * bandwidth**2))
