"""Sigma reparameterization as a layer."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas
from keras_reg._registry import export
from keras_reg.layers._kernels import Kernel
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.ops.sigma_reparam import spectral_norm_step, top_singular


@export("layers.SigmaReparam", kind="layer", arxiv="2303.06296", year=2023)
class SigmaReparam(ReparameterizedLayer):
    """Sigma reparameterization: the kernel is W divided by its largest singular value, times a trained scalar gamma.

    It holds back the growth of attention logits, whose entropy collapses when training diverges; transformers that have
    it in all their linear layers train without warmup, weight decay and layer normalization (the paper's finding).

    Training starts from the same forward pass as without it: gamma is the largest singular value of the initial
    weights. Each training step follows the singular vector by one power iteration; inference uses the same step and
    stores nothing. `keras_reg.fold` gives the plain layer back.

    Args:
        layer: The layer to wrap, built (pretrained) or not: see `ReparameterizedLayer`. A convolution counts as the
            matrix of its filters; each projection of an attention layer has its own gamma.
        **kwargs: As of any layer: `name`, `trainable`.

    Call arguments:
        Those of the wrapped layer.

    Raises:
        ValueError: If the layer is not supported.

    Example:

    ```python
    layer = keras_reg.layers.SigmaReparam(keras.layers.Dense(8))
    layer(np.ones((2, 4), "float32"), training=True)
    ```

    Source: Shuangfei Zhai, Tatiana Likhomanenko, Etai Littwin, Dan Busbridge, Jason Ramapuram, Yizhe Zhang, Jiatao Gu,
    Josh Susskind, Stabilizing Transformer Training by Preventing Attention Entropy Collapse, arXiv 2303.06296, 2023.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self._gammas: dict[str, Any] = {}
        self._vectors: dict[str, Any] = {}

    def add_parameters(self, kernel: Kernel) -> None:
        """Adds gamma and the singular vector: those of the initial weights."""

        def matrix() -> Any:
            return self._matrix(kernel, kernel.variable.value)

        self._gammas[kernel.name] = self.add_weight(
            shape=(),
            initializer=lambda shape, dtype=None: ops.cast(top_singular(matrix())[0], dtype),
            name=f"{kernel.name}_gamma",
        )
        self._vectors[kernel.name] = self.add_weight(
            shape=(math.prod(kernel.variable.shape[axis] for axis in kernel.input_axes),),
            initializer=lambda shape, dtype=None: ops.cast(top_singular(matrix())[1], dtype),
            trainable=False,
            aggregation="only_first_replica",  # all replicas compute the same
            name=f"{kernel.name}_singular_vector",
        )

    def effective(self, kernel: Kernel, parameter: Any, training: bool = False) -> Any:
        """The weights of the parameter W; in training, the singular vector makes its step."""
        vector = self._vectors[kernel.name]
        sigma, stepped = spectral_norm_step(self._matrix(kernel, parameter), vector.value)
        if training:
            replicas.assign(vector, ops.cast(stepped, vector.dtype))
        return parameter * ops.cast(ops.cast(self._gammas[kernel.name].value, sigma.dtype) / sigma, parameter.dtype)

    def set_effective(self, kernel: Kernel, weight: Any) -> None:
        """Takes the weights for W, with their largest singular value and its vector."""
        kernel.variable.assign(weight)
        gamma, vector = top_singular(self._matrix(kernel, weight))
        self._gammas[kernel.name].assign(gamma)
        self._vectors[kernel.name].assign(vector)

    def _matrix(self, kernel: Kernel, weight: Any) -> Any:
        """The kernel as a matrix (inputs, outputs)."""
        rank = len(kernel.variable.shape)
        outputs = tuple(axis + rank for axis in kernel.output_axes)
        size = math.prod(kernel.variable.shape[axis] for axis in outputs)
        return ops.reshape(ops.transpose(weight, (*kernel.input_axes, *outputs)), (-1, size))
