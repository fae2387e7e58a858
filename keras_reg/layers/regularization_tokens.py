"""Regularization tokens as layers: one that puts them into sequences, one that takes them out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.ops.regularization_tokens import POSITIONS, drop_tokens, insert_tokens


def _check_position(position: Any) -> str:
    if position not in POSITIONS:
        raise ValueError(f"`position` must be one of {POSITIONS}. Received: position={position!r}")
    return str(position)


def _check_sequences(shape: Any, what: str) -> tuple[Any, ...]:
    if len(shape) != 3 or shape[2] is None:
        raise ValueError(
            f"{what} takes sequences of shape (batch, length, width), the width known; images have to be cut and "
            f"flattened to patches first. Received: inputs of shape {tuple(shape)}"
        )
    return tuple(shape)


@export("layers.RegularizationTokens", kind="layer", arxiv="2410.05016", year=2024)
class RegularizationTokens(keras.layers.Layer):
    """Regularization tokens: learned vectors that are put into each sequence, for attention to work with.

    In T-JEPA, which learns tables without labels, they keep the representations from collapsing (the paper's finding;
    why is not known). In vision transformers the same is called registers: there they take up what otherwise ends up in
    patches of the background.

    Nothing is read from the tokens. Take them out with `DropTokens` before anything that knows positions: pooling,
    flattening, gathering, a position embedding.

    Args:
        num_tokens: How many tokens, at least 1. T-JEPA takes 1, vision transformers 4.
        position: `"start"` or `"end"` of the sequence; with padded sequences the end is behind the padding. Take
            `"start"` under causal attention.
        initializer: Of the tokens; `None` for a truncated normal distribution of standard deviation 0.02.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Sequences, shape (batch, length, width). Batch and length may be unknown.

    Returns:
        Sequences, shape (batch, length + num_tokens, width). A mask of the sequences is passed on, True for the tokens.

    Raises:
        ValueError: If an argument is out of its range, or the inputs are no sequences.

    Example:

    ```python
    patches = keras.Input((49, 16))
    x = keras_reg.layers.RegularizationTokens(4)(patches)  # (batch, 53, 16)
    x = keras.layers.Add()([x, keras.layers.MultiHeadAttention(2, 8)(x, x)])
    x = keras_reg.layers.DropTokens(4)(x)  # (batch, 49, 16)
    model = keras.Model(patches, keras.layers.GlobalAveragePooling1D()(x))
    ```

    Source: Hugo Thimonier, Jose Lucas De Melo Costa, Fabrice Popineau, Arpad Rimmel, Bich-Lien Doan, T-JEPA:
    Augmentation-Free Self-Supervised Learning for Tabular Data, arXiv 2410.05016, 2024. As registers: Timothee Darcet,
    Maxime Oquab, Julien Mairal, Piotr Bojanowski, Vision Transformers Need Registers, arXiv 2309.16588, 2023.
    """

    def __init__(self, num_tokens: int = 1, position: str = "start", initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tokens = check_integer("num_tokens", num_tokens)
        self.position = _check_position(position)
        self.initializer = keras.initializers.get(
            keras.initializers.TruncatedNormal(stddev=0.02) if initializer is None else initializer
        )
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Makes the tokens, as wide as those of the sequences."""
        *_, width = _check_sequences(input_shape, type(self).__name__)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: width})
        self.tokens = self.add_weight((self.num_tokens, width), initializer=self.initializer, name="tokens")

    def call(self, inputs: Any) -> Any:
        """The sequences with the tokens."""
        return insert_tokens(inputs, self.tokens, self.position)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the sequences, and True for the tokens."""
        if previous_mask is None:
            return None
        padding = (self.num_tokens, 0) if self.position == "start" else (0, self.num_tokens)
        return ops.pad(previous_mask, ((0, 0), padding), constant_values=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """As the inputs, and longer."""
        batch, length, width = _check_sequences(input_shape, type(self).__name__)
        return batch, None if length is None else length + self.num_tokens, width

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_tokens": self.num_tokens,
            "position": self.position,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@export("layers.DropTokens", kind="layer", arxiv="2410.05016", year=2024)
class DropTokens(keras.layers.Layer):
    """Takes out of sequences what `RegularizationTokens` has put in.

    Args:
        num_tokens: How many tokens, at least 1: as many as were put in.
        position: Where they stand: `"start"` or `"end"`.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Sequences, shape (batch, length, width), longer than `num_tokens`.

    Returns:
        Sequences, shape (batch, length - num_tokens, width). A mask is cut in the same way.

    Raises:
        ValueError: If an argument is out of its range, or the sequences are no longer than the tokens.

    Example:

    ```python
    sequences = keras_reg.layers.RegularizationTokens(2, "end")(np.zeros((3, 5, 4), "float32"))  # (3, 7, 4)
    keras_reg.layers.DropTokens(2, "end")(sequences)  # (3, 5, 4)
    ```

    Source: Hugo Thimonier, Jose Lucas De Melo Costa, Fabrice Popineau, Arpad Rimmel, Bich-Lien Doan, T-JEPA:
    Augmentation-Free Self-Supervised Learning for Tabular Data, arXiv 2410.05016, 2024.
    """

    def __init__(self, num_tokens: int = 1, position: str = "start", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_tokens = check_integer("num_tokens", num_tokens)
        self.position = _check_position(position)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """The sequences without the tokens."""
        self.compute_output_shape(inputs.shape)
        return drop_tokens(inputs, self.num_tokens, self.position)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of what is left."""
        return None if previous_mask is None else drop_tokens(previous_mask, self.num_tokens, self.position)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """As the inputs, and shorter."""
        batch, length, width = _check_sequences(input_shape, type(self).__name__)
        if length is not None and length <= self.num_tokens:
            raise ValueError(
                "The sequences have nothing besides the tokens that are to be dropped. "
                f"Received: inputs of shape {tuple(input_shape)} with num_tokens={self.num_tokens}"
            )
        return batch, None if length is None else length - self.num_tokens, width

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_tokens": self.num_tokens, "position": self.position}
