"""Transformer of T-JEPA: post-norm blocks, and a projection between two normalizations."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, DType, Shape, Structure, Tensor
from keras_reg._validation import check_integer, check_number
from keras_reg.ops._numerics import at_least_float32
from keras_reg.ops.noise import drop_inputs
from keras_reg.random._uniform import open_uniform

#: The score of a masked token, whose weight becomes 0. It is finite, so that no output is NaN if all tokens are masked.
MASKED = -1e30


def make_dense(units: int, dtype: DType, name: str, activation: str | None = None) -> keras.layers.Dense:
    """Returns a dense layer with the initializer of T-JEPA."""
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(units, activation, kernel_initializer=initializer, dtype=dtype, name=name)


def make_normalization(dtype: DType, name: str) -> keras.layers.LayerNormalization:
    """Returns a layer normalization with the epsilon of T-JEPA."""
    return keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=name)


class _Dropout(keras.layers.Dropout):
    """Applies dropout.

    On TensorFlow, its random numbers differ between replicas, and XLA draws them quickly on CPUs.
    """

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if keras.backend.backend() != "tensorflow" or not training or not self.rate:
            return super().call(inputs, training=training)
        return drop_inputs(inputs, self.rate, open_uniform(ops.shape(inputs), self.seed_generator))


class _Attention(keras.layers.MultiHeadAttention):
    """Applies attention with the dropout of this module.

    It overrides the method that Keras documents for customized attention.
    """

    def __init__(self, num_heads: int, key_dim: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(num_heads, key_dim, **kwargs)
        self.weights_dropout = _Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def _compute_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        training: bool = False,
        *more: Any,
    ) -> Structure:
        if not training or not self.weights_dropout.rate:
            # Without dropout, the method of Keras lets the backend fuse the attention.
            return super()._compute_attention(query, key, value, attention_mask, training, *more)
        scores = at_least_float32(ops.einsum("bqhd,bkhd->bhqk", query / math.sqrt(self.key_dim), key))
        if attention_mask is not None:
            scores = ops.where(ops.expand_dims(attention_mask, 1), scores, ops.full_like(scores, MASKED))
        attention = self.weights_dropout(ops.cast(ops.softmax(scores), value.dtype), training=training)
        return ops.einsum("bhqk,bkhd->bqhd", attention, value), None


class _Block(keras.layers.Layer):
    """Applies attention and a network for each token. Each is added to its input, and the sum is normalized."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = _Attention(num_heads, width // num_heads, dropout, dtype=self.dtype_policy, name="attention")
        self.expand = make_dense(hidden, self.dtype_policy, "expand", "relu")
        self.contract = make_dense(width, self.dtype_policy, "contract")
        self.norms = [make_normalization(self.dtype_policy, f"norm_{i}") for i in (1, 2)]
        self.dropouts = [_Dropout(dropout, dtype=self.dtype_policy, name=f"dropout_{i}") for i in (1, 2, 3)]

    def build(self, input_shape: Shape) -> None:
        self.attention.build(input_shape, input_shape)
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.expand.units))
        for norm in self.norms:
            norm.build(input_shape)

    def call(self, x: Tensor, attention_mask: Tensor | None = None, training: bool = False) -> Tensor:
        attended = self.attention(x, x, attention_mask=attention_mask, training=training)
        x = self.norms[0](x + self.dropouts[0](attended, training=training))
        inner = self.contract(self.dropouts[1](self.expand(x), training=training))
        return self.norms[1](x + self.dropouts[2](inner, training=training))


@export(
    "models.TransformerEncoder",
    kind="layer",
    place="model",
    tasks=("self-supervised learning",),
    tunable={"dropout": Range(0.0, 0.3)},
    arxiv="2410.05016",
    year=2024,
)
class TransformerEncoder(keras.layers.Layer):
    """Encodes tokens as T-JEPA does: post-norm blocks with ReLU, then normalization, projection and normalization.

    Args:
        width: Integer. The width of the tokens.
        num_layers: Integer. The number of blocks. Defaults to `4`.
        num_heads: Integer. The number of attention heads. It must divide the width. Defaults to `8`.
        hidden: Integer. The width of the hidden layer of each block. Defaults to `256`.
        dropout: Float. The dropout rate, from 0 to below 1. Defaults to `0.1`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Tensor of tokens, shape (batch, length, width).
        mask: Boolean tensor of shape (batch, length). `True` for tokens that may be attended to. `None` means all.
            The outputs of the other tokens are undefined.
        training: Boolean. Whether to apply dropout.

    Returns:
        Tensor of tokens of the same shape.

    Raises:
        ValueError: If an argument is invalid, or the inputs have a different width.

    Example:

    ```python
    encoder = keras_reg.models.TransformerEncoder(
        8, num_layers=2, num_heads=2, hidden=16
    )
    encoder(np.ones((3, 5, 8), "float32"))  # (3, 5, 8)
    ```

    Reference:

    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    """

    def __init__(
        self,
        width: int,
        *,
        num_layers: int = 4,
        num_heads: int = 8,
        hidden: int = 256,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.width = check_integer("width", width)
        self.num_layers = check_integer("num_layers", num_layers)
        self.num_heads = check_integer("num_heads", num_heads)
        self.hidden = check_integer("hidden", hidden)
        self.dropout = check_number("dropout", dropout, below=1.0)
        if self.width % self.num_heads:
            raise ValueError(
                f"`width` must be a multiple of `num_heads`. Received: num_heads={num_heads!r}, width={width!r}"
            )
        policy = self.dtype_policy
        self.blocks = [
            _Block(self.width, self.num_heads, self.hidden, self.dropout, dtype=policy, name=f"block_{i}")
            for i in range(self.num_layers)
        ]
        self.norms = [make_normalization(policy, f"norm_{i}") for i in (1, 2)]
        self.projection = make_dense(self.width, policy, "projection")
        self.dropouts = [_Dropout(self.dropout, dtype=policy, name=f"dropout_{i}") for i in (1, 2)]
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Builds the blocks."""
        if len(input_shape) != 3 or input_shape[2] != self.width:
            raise ValueError(
                f"The encoder takes tokens of shape (batch, length, {self.width}). "
                f"Received: inputs of shape {tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.width})
        for layer in (*self.blocks, *self.norms, self.projection):
            layer.build(input_shape)

    def call(self, inputs: Tensor, mask: Tensor | None = None, training: bool = False) -> Tensor:
        """Returns the encoded tokens."""
        attention_mask = None if mask is None else ops.expand_dims(mask, 1)  # All queries have the same mask.
        x = inputs
        for block in self.blocks:
            x = block(x, attention_mask=attention_mask, training=training)
        x = self.norms[0](self.dropouts[0](x, training=training))
        return self.norms[1](self.dropouts[1](self.projection(x), training=training))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs."""
        return tuple(input_shape)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden": self.hidden,
            "dropout": self.dropout,
        }
