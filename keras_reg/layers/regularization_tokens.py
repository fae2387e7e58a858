"""Layers that insert regularization tokens into sequences, and remove them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_choice, check_integer
from keras_reg.ops.regularization_tokens import POSITIONS, drop_tokens, insert_tokens


def _check_sequence_shape(shape: Shape, layer_name: str) -> Shape:
    """Checks the shape of sequences, and returns it."""
    if len(shape) != 3 or shape[2] is None:
        raise ValueError(
            f"{layer_name} takes sequences of shape (batch, length, width) with a known width. Cut and flatten images "
            f"to patches first. Received: inputs of shape {tuple(shape)}"
        )
    return tuple(shape)


@export(
    "layers.RegularizationTokens",
    kind="layer",
    tasks=("self-supervised learning", "attention"),
    tunable={"num_tokens": Range(1, 8)},
    arxiv="2410.05016",
    year=2024,
)
class RegularizationTokens(keras.layers.Layer):
    """Inserts learned vectors into each sequence, which take part in attention.

    In T-JEPA, which learns from tables without labels, these tokens keep the representations from collapsing. This is
    a finding of the paper, and the reason is not known. In vision transformers such tokens are called registers. There
    they hold information that otherwise ends up in patches of the background.

    Nothing is read from the tokens. Remove them with `DropTokens` before anything that depends on positions: pooling,
    flattening, gathering, a position embedding.

    Args:
        num_tokens: Integer of at least 1. Number of tokens. T-JEPA uses 1, and vision transformers use 4. Defaults to
            `1`.
        position: String. `"start"` or `"end"` of the sequence. In padded sequences, the end is after the padding. Use
            `"start"` with causal attention. Defaults to `"start"`.
        initializer: A `keras.initializers.Initializer` or its name. Initializer of the tokens. With `None`, it is a
            truncated normal distribution with a standard deviation of 0.02. Defaults to `None`.
        **kwargs: Base layer keyword arguments, such as `name`, `trainable` and `dtype`.

    Call arguments:
        inputs: Sequences. A mask of the sequences is extended with True for the tokens.

    Input shape:
        `(batch, length, width)`. Batch and length may be unknown.

    Output shape:
        `(batch, length + num_tokens, width)`.

    Raises:
        ValueError: If an argument is out of range, or if the inputs are not sequences.

    Example:

    ```python
    patches = keras.Input((49, 16))
    x = keras_reg.layers.RegularizationTokens(4)(patches)
    attended = keras.layers.MultiHeadAttention(2, 8)(x, x)
    x = keras.layers.Add()([x, attended])  # (batch, 53, 16)
    x = keras_reg.layers.DropTokens(4)(x)  # (batch, 49, 16)
    pooled = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(patches, pooled)
    ```

    References:

    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    - [Darcet et al., 2023](https://arxiv.org/abs/2309.16588): Vision Transformers Need Registers
    """

    def __init__(self, num_tokens: int = 1, *, position: str = "start", initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tokens = check_integer("num_tokens", num_tokens)
        self.position = check_choice("position", position, POSITIONS)
        self.initializer = keras.initializers.get(
            keras.initializers.TruncatedNormal(stddev=0.02) if initializer is None else initializer
        )
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        """Creates the tokens in the width of the sequences."""
        *_, width = _check_sequence_shape(input_shape, type(self).__name__)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})
        self.tokens = self.add_weight((self.num_tokens, width), initializer=self.initializer, name="tokens")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the sequences with the tokens."""
        return insert_tokens(inputs, self.tokens, self.position)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        """Returns the mask of the sequences, extended with True for the tokens."""
        if previous_mask is None:
            return None
        padding = (self.num_tokens, 0) if self.position == "start" else (0, self.num_tokens)
        return ops.pad(previous_mask, ((0, 0), padding), constant_values=True)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs with a larger length."""
        batch, length, width = _check_sequence_shape(input_shape, type(self).__name__)
        return batch, None if length is None else length + self.num_tokens, width

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "position": self.position,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@export(
    "layers.DropTokens", kind="layer", tasks=("self-supervised learning", "attention"), arxiv="2410.05016", year=2024
)
class DropTokens(keras.layers.Layer):
    """Removes the tokens from sequences that `RegularizationTokens` inserted.

    Args:
        num_tokens: Integer of at least 1. Number of tokens that were inserted. Defaults to `1`.
        position: String. Where the tokens are: `"start"` or `"end"`. Defaults to `"start"`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Sequences that are longer than `num_tokens`. A mask is cut in the same way.

    Input shape:
        `(batch, length, width)`. Batch and length may be unknown.

    Output shape:
        `(batch, length - num_tokens, width)`.

    Raises:
        ValueError: If an argument is out of range, or if the sequences are not longer than the tokens.

    Example:

    ```python
    insert = keras_reg.layers.RegularizationTokens(2, position="end")
    sequences = insert(np.zeros((3, 5, 4), "float32"))  # (3, 7, 4)
    drop = keras_reg.layers.DropTokens(2, position="end")
    drop(sequences)  # (3, 5, 4)
    ```

    Reference:

    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    """

    def __init__(self, num_tokens: int = 1, *, position: str = "start", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tokens = check_integer("num_tokens", num_tokens)
        self.position = check_choice("position", position, POSITIONS)
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        """Returns the sequences without the tokens."""
        # Keras does not compute the output shape in eager execution, so the inputs would not be checked there.
        self.compute_output_shape(inputs.shape)
        return drop_tokens(inputs, self.num_tokens, self.position)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> Tensor | None:
        """Returns the mask of the remaining elements."""
        return None if previous_mask is None else drop_tokens(previous_mask, self.num_tokens, self.position)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs with a smaller length."""
        batch, length, width = _check_sequence_shape(input_shape, type(self).__name__)
        if length is not None and length <= self.num_tokens:
            raise ValueError(
                "The sequences must be longer than the number of tokens to drop. "
                f"Received: inputs of shape {tuple(input_shape)} with num_tokens={self.num_tokens}"
            )
        return batch, None if length is None else length - self.num_tokens, width

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "num_tokens": self.num_tokens, "position": self.position}
