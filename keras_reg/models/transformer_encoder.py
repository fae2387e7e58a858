"""The transformer of T-JEPA: post-norm blocks, and a projection between two normalizations."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.ops._numerics import at_least_float32
from keras_reg.ops.noise import drop_inputs
from keras_reg.random._uniform import open_uniform

#: The score of what is not attended to: its weight is 0, and where nothing is attended to, no number is NaN.
MASKED = -1e30


def dense(units: int, dtype: Any, name: str, activation: str | None = None) -> keras.layers.Dense:
    """A linear layer with the initial weights of T-JEPA."""
    initializer = keras.initializers.TruncatedNormal(stddev=0.02)
    return keras.layers.Dense(units, activation, kernel_initializer=initializer, dtype=dtype, name=name)


def normalization(dtype: Any, name: str) -> keras.layers.LayerNormalization:
    """A layer normalization with the epsilon of T-JEPA."""
    return keras.layers.LayerNormalization(epsilon=1e-5, dtype=dtype, name=name)


class _Dropout(keras.layers.Dropout):
    """Dropout; in TensorFlow from numbers that differ between replicas, and that XLA draws fast on processors."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        if keras.backend.backend() != "tensorflow" or not training or not self.rate:
            return super().call(inputs, training=training)
        return drop_inputs(inputs, self.rate, open_uniform(ops.shape(inputs), self.seed_generator))


class _Attention(keras.layers.MultiHeadAttention):
    """Attention whose dropout is that of the other layers here: it overrides what Keras documents for that."""

    def __init__(self, num_heads: int, key_dim: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(num_heads, key_dim, **kwargs)
        self.weights_dropout = _Dropout(dropout, dtype=self.dtype_policy, name="dropout")

    def _compute_attention(
        self, query: Any, key: Any, value: Any, attention_mask: Any = None, training: bool = False, *more: Any
    ) -> Any:
        if not training or not self.weights_dropout.rate:  # the backend may fuse all of it
            return super()._compute_attention(query, key, value, attention_mask, training, *more)
        scores = at_least_float32(ops.einsum("bqhd,bkhd->bhqk", query / math.sqrt(self.key_dim), key))
        if attention_mask is not None:
            scores = ops.where(ops.expand_dims(attention_mask, 1), scores, ops.full_like(scores, MASKED))
        attention = self.weights_dropout(ops.cast(ops.softmax(scores), value.dtype), training=training)
        return ops.einsum("bhqk,bkhd->bqhd", attention, value), None


class _Block(keras.layers.Layer):
    """Attention and a small network for each token, each added to its input and then normalized."""

    def __init__(self, width: int, num_heads: int, hidden: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = _Attention(num_heads, width // num_heads, dropout, dtype=self.dtype_policy, name="attention")
        self.expand = dense(hidden, self.dtype_policy, "expand", "relu")
        self.contract = dense(width, self.dtype_policy, "contract")
        self.norms = [normalization(self.dtype_policy, f"norm_{i}") for i in (1, 2)]
        self.dropouts = [_Dropout(dropout, dtype=self.dtype_policy, name=f"dropout_{i}") for i in (1, 2, 3)]

    def build(self, input_shape: Any) -> None:
        self.attention.build(input_shape, input_shape)
        self.expand.build(input_shape)
        self.contract.build((*input_shape[:-1], self.expand.units))
        for norm in self.norms:
            norm.build(input_shape)

    def call(self, x: Any, attention_mask: Any = None, training: bool = False) -> Any:
        attended = self.attention(x, x, attention_mask=attention_mask, training=training)
        x = self.norms[0](x + self.dropouts[0](attended, training=training))
        inner = self.contract(self.dropouts[1](self.expand(x), training=training))
        return self.norms[1](x + self.dropouts[2](inner, training=training))


@export("models.TransformerEncoder", kind="layer", arxiv="2410.05016", year=2024)
class TransformerEncoder(keras.layers.Layer):
    """Transformer encoder as T-JEPA has it: post-norm blocks with ReLU, then normalization, projection, normalization.

    Args:
        width: The width of tokens, in and out.
        num_layers: The number of blocks.
        num_heads: The number of attention heads, of which the width must be a multiple.
        hidden: The width of the network inside of each block.
        dropout: The rate of dropout, 0 to below 1.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Tokens, shape (batch, length, width).
        mask: Which tokens may be attended to, shape (batch, length), or `None` for all. The outputs of the others mean
            nothing.
        training: Whether to drop out.

    Returns:
        Tokens of the same shape.

    Raises:
        ValueError: If an argument is out of its range, or the inputs have another width.

    Example:

    ```python
    encoder = keras_reg.models.TransformerEncoder(width=8, num_layers=2, num_heads=2, hidden=16)
    encoder(np.ones((3, 5, 8), "float32"))  # (3, 5, 8)
    ```

    Source: Hugo Thimonier, Jose Lucas De Melo Costa, Fabrice Popineau, Arpad Rimmel, Bich-Lien Doan, T-JEPA:
    Augmentation-Free Self-Supervised Learning for Tabular Data, arXiv 2410.05016, 2024.
    """

    def __init__(
        self,
        width: int,
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
        if width % num_heads:
            raise ValueError(
                f"`width` must be a multiple of `num_heads`. Received: num_heads={num_heads!r}, width={width!r}"
            )
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0.0 <= dropout < 1.0:
            raise ValueError(f"`dropout` must be a number from 0 to below 1. Received: dropout={dropout!r}")
        self.dropout = float(dropout)
        policy = self.dtype_policy
        self.blocks = [
            _Block(width, num_heads, hidden, self.dropout, dtype=policy, name=f"block_{i}") for i in range(num_layers)
        ]
        self.norms = [normalization(policy, f"norm_{i}") for i in (1, 2)]
        self.projection = dense(width, policy, "projection")
        self.dropouts = [_Dropout(self.dropout, dtype=policy, name=f"dropout_{i}") for i in (1, 2)]
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Builds the blocks."""
        if len(input_shape) != 3 or input_shape[2] != self.width:
            raise ValueError(
                f"The encoder takes tokens of shape (batch, length, {self.width}). "
                f"Received: inputs of shape {tuple(input_shape)}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: self.width})
        for layer in (*self.blocks, *self.norms, self.projection):
            layer.build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool = False) -> Any:
        """What each token means among the others."""
        attention_mask = None if mask is None else ops.expand_dims(mask, 1)  # the same for every query
        x = inputs
        for block in self.blocks:
            x = block(x, attention_mask=attention_mask, training=training)
        x = self.norms[0](self.dropouts[0](x, training=training))
        return self.norms[1](self.dropouts[1](self.projection(x), training=training))

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """As the inputs."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "hidden": self.hidden,
            "dropout": self.dropout,
        }
