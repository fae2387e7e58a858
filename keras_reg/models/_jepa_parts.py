"""Networks of T-JEPA: one encodes columns, and one predicts columns from other columns."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._types import Shape, Tensor
from keras_reg.layers.regularization_tokens import RegularizationTokens
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder, make_dense, make_normalization
from keras_reg.ops.joint_embedding import gather_tokens, sinusoidal_positions
from keras_reg.ops.regularization_tokens import drop_tokens


class ColumnEncoder(keras.layers.Layer):
    """Maps rows to representations of all or of some columns.

    The parts are the tokenizer, [REG] tokens, positions and a transformer.

    Args:
        tokenizer: A `FeatureTokenizer`.
        encoder: A `TransformerEncoder` of the same width.
        num_tokens: Integer. The number of [REG] tokens.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(
        self, tokenizer: FeatureTokenizer, encoder: TransformerEncoder, num_tokens: int, **kwargs: Any
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # The tokenizer casts the rows.
        self.supports_masking = True
        self.tokenizer, self.encoder, self.num_tokens = tokenizer, encoder, num_tokens
        self.tokens = None
        if num_tokens:
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
            self.tokens = RegularizationTokens(num_tokens, initializer=uniform, name="tokens")
        columns = len(tokenizer.cardinalities or ())
        # As in the authors' code, the positions of columns begin after the [REG] tokens.
        self.positions = sinusoidal_positions(num_tokens + columns, tokenizer.width, base=100.0, interleaved=True)

    def build(self, input_shape: Shape) -> None:
        """Builds the parts."""
        length, width = self.positions.shape
        if self.tokens is not None:
            self.tokens.build((None, length - self.num_tokens, width))
        # The parts of a loaded model are already built.
        for part, shape in ((self.tokenizer, input_shape), (self.encoder, (None, length, width))):
            if not part.built:
                part.build(shape)

    def call(
        self, rows: Tensor, indices: Tensor | None = None, valid: Tensor | None = None, training: bool = False
    ) -> Tensor:
        """Returns representations of columns, without those of the [REG] tokens.

        Args:
            rows: Tensor of shape (batch, columns).
            indices: Integer tensor of shape (batch, length). The columns to encode; `None` for all columns.
            valid: Boolean tensor of shape (batch, length). `False` for indices that are padding.
            training: Boolean. Whether to apply dropout.

        Returns:
            Tensor of shape (batch, length, width).
        """
        x = self.tokenizer(rows)
        if self.tokens is not None:
            x = self.tokens(x)
        x = x + ops.cast(ops.convert_to_tensor(self.positions), x.dtype)
        if indices is not None:
            # The [REG] tokens are always encoded. They come first and shift the columns.
            reg, columns = x[:, : self.num_tokens], gather_tokens(x, indices + self.num_tokens)
            x = ops.concatenate([reg, columns], axis=1)
            valid = ops.pad(valid, ((0, 0), (self.num_tokens, 0)), constant_values=True)
        x = self.encoder(x, mask=valid, training=training)
        return drop_tokens(x, self.num_tokens) if self.num_tokens else x


class ColumnPredictor(keras.layers.Layer):
    """Predicts the target encoder's representations of columns from those of the context.

    Args:
        encoder: A `TransformerEncoder`.
        width: Integer. The width of the representations.
        columns: Integer. The number of columns.
        **kwargs: Arguments of `keras.layers.Layer`.
    """

    def __init__(self, encoder: TransformerEncoder, width: int, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.encoder, self.width = encoder, width
        self.narrow = make_dense(encoder.width, self.dtype_policy, "narrow")
        self.norm = make_normalization(self.dtype_policy, "norm")
        self.widen = make_dense(width, self.dtype_policy, "widen")
        self.positions = sinusoidal_positions(columns, encoder.width)

    def build(self, input_shape: Shape) -> None:
        """Creates the mask token and builds the parts."""
        inner = (None, None, self.encoder.width)
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.mask_token = self.add_weight((self.encoder.width,), normal, name="mask_token")
        self.narrow.build((None, None, self.width))
        for layer in (self.encoder, self.norm, self.widen):
            if not layer.built:
                layer.build(inner)

    def call(self, context: Tensor, masks: tuple[Tensor, ...], training: bool = False) -> Tensor:
        """Returns predictions for every target set.

        Args:
            context: Tensor of shape (batch, context length, width). The representations of the context.
            masks: The tensors that `keras_reg.random.subsets.disjoint_subsets` returns.
            training: Boolean. Whether to apply dropout.

        Returns:
            Tensor of shape (batch, sets, targets, width).
        """
        context_indices, context_valid, target_indices, target_valid = masks
        sets, length = target_indices.shape[1:]
        narrow = self.narrow(context)
        table = ops.cast(ops.convert_to_tensor(self.positions), narrow.dtype)
        narrow = narrow + ops.take(table, context_indices, axis=0)
        queries = ops.cast(self.mask_token, narrow.dtype) + ops.take(table, target_indices, axis=0)
        # Each target set has one sequence: the whole context, followed by a mask token for each target.
        narrow, context_valid = (ops.repeat(part, sets, axis=0) for part in (narrow, context_valid))
        queries = ops.reshape(queries, (-1, length, self.encoder.width))
        x = ops.concatenate([narrow, queries], axis=1)
        valid = ops.concatenate([context_valid, ops.reshape(target_valid, (-1, length))], axis=1)
        x = self.encoder(x, mask=valid, training=training)[:, -length:]
        return ops.reshape(self.widen(self.norm(x)), (-1, sets, length, self.width))
