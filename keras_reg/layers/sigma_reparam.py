"""Wrapper for sigma reparameterization."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg._types import Tensor
from keras_reg.layers._kernels import Kernel
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.ops.sigma_reparam import spectral_norm_step, top_singular


@export(
    "layers.SigmaReparam", kind="layer", place="wrapper of layers", tasks=("attention",), arxiv="2303.06296", year=2023
)
class SigmaReparam(ReparameterizedLayer):
    """Divides each kernel W by its largest singular value and multiplies it by a trained scalar gamma.

    This limits the growth of attention logits. When training diverges, the entropy of attention collapses. According to
    the paper, transformers with this method in all linear layers train without warmup, weight decay and layer
    normalization.

    Wrapping does not change the forward pass at the start: gamma is the largest singular value of the initial weights.
    Each training step updates the singular vector by one power iteration. Inference computes the same iteration and
    stores nothing. `keras_reg.fold` returns an ordinary layer.

    Args:
        layer: A `keras.layers.Layer`. The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`. The
            kernel of a convolution is the matrix of its filters. Each projection of an attention layer has one gamma.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`.

    Call arguments:
        The call arguments of the wrapped layer.

    Raises:
        ValueError: If the layer is not supported.

    Example:

    ```python
    layer = keras_reg.layers.SigmaReparam(keras.layers.Dense(8))
    layer(np.ones((2, 4), "float32"), training=True)
    ```

    Reference:

    - [Zhai et al., 2023](https://arxiv.org/abs/2303.06296): Stabilizing Transformer Training by Preventing Attention
      Entropy Collapse
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self._gammas: dict[str, Any] = {}
        self._vectors: dict[str, Any] = {}

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds gamma and the singular vector of the initial weights."""

        def initial_matrix() -> Tensor:
            return self._reshape_to_matrix(kernel, kernel.variable.value)

        self._gammas[kernel.name] = self.add_weight(
            shape=(),
            initializer=lambda shape, dtype=None: ops.cast(top_singular(initial_matrix())[0], dtype),
            name=f"{kernel.name}_gamma",
        )
        self._vectors[kernel.name] = self.add_weight(
            shape=(math.prod(kernel.variable.shape[axis] for axis in kernel.input_axes),),
            initializer=lambda shape, dtype=None: ops.cast(top_singular(initial_matrix())[1], dtype),
            trainable=False,
            aggregation="only_first_replica",  # All replicas compute the same vector.
            name=f"{kernel.name}_singular_vector",
        )

    def effective(self, kernel: Kernel, parameter: Tensor, training: bool = False) -> Tensor:
        """Returns the weights for the parameter W. In training, the singular vector is updated."""
        vector = self._vectors[kernel.name]
        sigma, next_vector = spectral_norm_step(self._reshape_to_matrix(kernel, parameter), vector.value)
        if training:
            replicas.assign(vector, ops.cast(next_vector, vector.dtype))
        return parameter * ops.cast(ops.cast(self._gammas[kernel.name].value, sigma.dtype) / sigma, parameter.dtype)

    def set_effective(self, kernel: Kernel, weight: Tensor) -> None:
        """Assigns the weights to W, and assigns their largest singular value and its vector."""
        kernel.variable.assign(weight)
        gamma, vector = top_singular(self._reshape_to_matrix(kernel, weight))
        self._gammas[kernel.name].assign(gamma)
        self._vectors[kernel.name].assign(vector)

    def _reshape_to_matrix(self, kernel: Kernel, weight: Tensor) -> Tensor:
        """Returns the kernel as a matrix of shape (inputs, outputs)."""
        rank = len(kernel.variable.shape)
        outputs = tuple(axis + rank for axis in kernel.output_axes)
        size = math.prod(kernel.variable.shape[axis] for axis in outputs)
        return ops.reshape(ops.transpose(weight, (*kernel.input_axes, *outputs)), (-1, size))
