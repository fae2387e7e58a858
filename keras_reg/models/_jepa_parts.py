"""The two networks of T-JEPA: one that encodes columns, and one that predicts columns from others."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg.layers.regularization_tokens import RegularizationTokens
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder, dense, normalization
from keras_reg.ops.joint_embedding import gather_tokens, sinusoidal_positions
from keras_reg.ops.regularization_tokens import drop_tokens


class ColumnEncoder(keras.layers.Layer):
    """Rows -> representations of all columns, or of some: tokenizer, [REG] tokens, positions, transformer."""

    def __init__(
        self, tokenizer: FeatureTokenizer, encoder: TransformerEncoder, num_tokens: int, **kwargs: Any
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # rows are for the tokenizer, which casts
        self.supports_masking = True  # it has masks of its own
        self.tokenizer, self.encoder, self.num_tokens = tokenizer, encoder, num_tokens
        self.tokens = None
        if num_tokens:
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
            self.tokens = RegularizationTokens(num_tokens, initializer=uniform, name="tokens")
        columns = len(tokenizer.cardinalities or ())
        # The authors' positions of columns begin behind the [REG] tokens.
        self.positions = sinusoidal_positions(num_tokens + columns, tokenizer.width, base=100.0, interleaved=True)

    def build(self, input_shape: Any) -> None:
        """Builds the parts."""
        length, width = self.positions.shape
        if self.tokens is not None:
            self.tokens.build((None, length - self.num_tokens, width))
        # What comes from a saved model is built already.
        for part, shape in ((self.tokenizer, input_shape), (self.encoder, (None, length, width))):
            if not part.built:
                part.build(shape)

    def call(self, rows: Any, indices: Any = None, valid: Any = None, training: bool = False) -> Any:
        """Representations, without those of the [REG] tokens.

        Args:
            rows: Shape (batch, columns).
            indices: Which columns to see, shape (batch, seen); all of them if `None`.
            valid: Which of the indices count, shape (batch, seen).
            training: Whether to drop out.

        Returns:
            Shape (batch, seen, width).
        """
        x = self.tokenizer(rows)
        if self.tokens is not None:
            x = self.tokens(x)
        x = x + ops.cast(ops.convert_to_tensor(self.positions), x.dtype)
        if indices is not None:
            # [REG] is always seen, and moves the columns to behind it.
            reg, columns = x[:, : self.num_tokens], gather_tokens(x, indices + self.num_tokens)
            x = ops.concatenate([reg, columns], axis=1)
            valid = ops.pad(valid, ((0, 0), (self.num_tokens, 0)), constant_values=True)
        x = self.encoder(x, mask=valid, training=training)
        return drop_tokens(x, self.num_tokens) if self.num_tokens else x


class ColumnPredictor(keras.layers.Layer):
    """Representations of the context -> what the target encoder says of other columns."""

    def __init__(self, encoder: TransformerEncoder, width: int, columns: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.encoder, self.width = encoder, width
        self.narrow = dense(encoder.width, self.dtype_policy, "narrow")
        self.norm = normalization(self.dtype_policy, "norm")
        self.widen = dense(width, self.dtype_policy, "widen")
        self.positions = sinusoidal_positions(columns, encoder.width)

    def build(self, input_shape: Any) -> None:
        """Makes the mask token and builds the parts."""
        inner = (None, None, self.encoder.width)
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.mask_token = self.add_weight((self.encoder.width,), normal, name="mask_token")
        self.narrow.build((None, None, self.width))
        for layer in (self.encoder, self.norm, self.widen):
            if not layer.built:
                layer.build(inner)

    def call(self, context: Any, masks: tuple[Any, ...], training: bool = False) -> Any:
        """Predictions for every target set.

        Args:
            context: Representations, shape (batch, seen, width).
            masks: As `keras_reg.random.subsets.disjoint_subsets` gives them.
            training: Whether to drop out.

        Returns:
            Shape (batch, sets, targets, width).
        """
        seen, seen_valid, wanted, wanted_valid = masks
        sets, length = wanted.shape[1:]
        narrow = self.narrow(context)
        table = ops.cast(ops.convert_to_tensor(self.positions), narrow.dtype)
        narrow = narrow + ops.take(table, seen, axis=0)
        questions = ops.cast(self.mask_token, narrow.dtype) + ops.take(table, wanted, axis=0)
        # One sequence for each set: the whole context, and a question for each of its targets.
        narrow, seen_valid = (ops.repeat(part, sets, axis=0) for part in (narrow, seen_valid))
        questions = ops.reshape(questions, (-1, length, self.encoder.width))
        x = ops.concatenate([narrow, questions], axis=1)
        valid = ops.concatenate([seen_valid, ops.reshape(wanted_valid, (-1, length))], axis=1)
        x = self.encoder(x, mask=valid, training=training)[:, -length:]
        return ops.reshape(self.widen(self.norm(x)), (-1, sets, length, self.width))
