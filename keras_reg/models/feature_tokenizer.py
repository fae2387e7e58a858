"""Tokenizer for the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Array, Config, Shape, Tensor
from keras_reg._validation import check_boolean, check_integer, is_number, reject
from keras_reg.ops.joint_embedding import column_tokens


@export(
    "models.FeatureTokenizer",
    kind="layer",
    place="model",
    tasks=("self-supervised learning",),
    arxiv="2410.05016",
    year=2024,
)
class FeatureTokenizer(keras.layers.Layer):
    """Converts each column of the rows of a table, numeric or categorical, to a token.

    The token of a numeric column j is x_j w_j + b_j. The token of a categorical column is the embedding of its category
    plus b_j. The tokens are in the order of the columns. Scale numeric columns first, and fill in missing values.

    Args:
        width: Integer. The width of a token.
        cardinalities: List of integers. The number of categories of each column, or 0 for a numeric column. Categories
            are numbered from 0. `None` means numeric columns only, and their number is taken from the rows. Defaults
            to `None`.
        type_embedding: Boolean. Whether to add one trained vector to all numeric tokens and another one to all
            categorical tokens. Defaults to `False`.
        index_embedding: Boolean. Whether to add a trained vector to the tokens of each column. The bias b is such a
            vector already. Defaults to `False`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Tensor of rows of any numeric type, shape (batch, columns). Categories are looked up before the rows
            are cast to the compute dtype, so they are not rounded.

    Returns:
        Tensor of tokens, shape (batch, columns, width). The token of an unknown category is NaN, so that the loss shows
        the error. `check(rows)` raises an error instead.

    Raises:
        ValueError: If an argument is invalid, or the rows have a different number of columns.

    Example:

    ```python
    tokenizer = keras_reg.models.FeatureTokenizer(8, cardinalities=(0, 0, 3))
    tokenizer(np.float32([[0.1, -1.2, 2], [0.4, 0.3, 0]]))  # (2, 3, 8)
    ```

    References:

    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    - [Gorishniy et al., 2021](https://arxiv.org/abs/2106.11959): Revisiting Deep Learning Models for Tabular Data
    """

    def __init__(
        self,
        width: int,
        cardinalities: Sequence[int] | None = None,
        *,
        type_embedding: bool = False,
        index_embedding: bool = False,
        **kwargs: Any,
    ) -> None:
        # Inputs are not cast automatically, because half precision rounds large category numbers.
        super().__init__(**{"autocast": False, **kwargs})
        self.width = check_integer("width", width)
        self.cardinalities = None if cardinalities is None else _check_cardinalities(cardinalities)
        self.type_embedding = check_boolean("type_embedding", type_embedding)
        self.index_embedding = check_boolean("index_embedding", index_embedding)

    def build(self, input_shape: Shape) -> None:
        """Creates vectors for columns and categories."""
        if len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                f"The tokenizer takes rows of shape (batch, columns). Received: inputs of shape {tuple(input_shape)}"
            )
        columns = input_shape[1]
        self._counts = np.array(self.cardinalities or (0,) * columns, "int32")
        if len(self._counts) != columns:
            raise ValueError(
                f"`cardinalities` must have a number for each of the {columns} columns. "
                f"Received: cardinalities={self.cardinalities}"
            )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: columns})
        numeric = int((self._counts == 0).sum())
        # The vectors of columns have the initial distribution of a linear layer, up to 1 / sqrt(width).
        uniform = keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform")
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.weight = self.add_weight((numeric, self.width), uniform, name="weight") if numeric else None
        self.embeddings = None
        if numeric < columns:
            self.embeddings = self.add_weight((int(self._counts.sum()), self.width), normal, name="embeddings")
        self.bias = self.add_weight((columns, self.width), uniform, name="bias")
        self.types = self.add_weight((2, self.width), normal, name="types") if self.type_embedding else None
        self.indices = None
        if self.index_embedding:
            self.indices = self.add_weight((columns, self.width), normal, name="indices")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns a token for each column."""
        biases = ops.convert_to_tensor(self.bias)
        if self.types is not None:
            categorical = ops.convert_to_tensor((self._counts > 0).astype("int32"))
            biases = biases + ops.take(self.types, categorical, axis=0)
        if self.indices is not None:
            biases = biases + ops.convert_to_tensor(self.indices)
        tokens = column_tokens(inputs, self._counts.tolist(), self.weight, self.embeddings, biases)
        return ops.cast(tokens, self.compute_dtype)

    def check(self, rows: Array) -> None:
        """Raises a `ValueError` for an array that does not fit this tokenizer.

        Args:
            rows: Array. It must have the shape (rows, columns), finite values and known categories.
        """
        counts = np.array(self.cardinalities or (0,) * (rows.shape[1] if rows.ndim == 2 else 0))
        if rows.ndim != 2 or rows.shape[1] != len(counts) or rows.dtype.kind not in "biuf":
            raise ValueError(
                f"Rows must be an array of numbers of shape (rows, {len(counts) or 'columns'}). "
                f"Received: an array of shape {rows.shape} and type {rows.dtype}"
            )
        for column, (count, values) in enumerate(zip(counts, rows.T, strict=True)):
            if not np.isfinite(values).all():
                raise ValueError(
                    f"Fill in missing values first. Received: column {column} with {(~np.isfinite(values)).sum()} "
                    "values that are not finite"
                )
            if count and ((values < 0) | (values >= count) | (values != np.floor(values))).any():
                raise ValueError(
                    f"Column {column} must hold the numbers of {count} categories, 0 to {count - 1}. "
                    f"Received: values from {values.min()} to {values.max()}"
                )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (batch, columns, width)."""
        return (*input_shape, self.width)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "cardinalities": self.cardinalities,
            "type_embedding": self.type_embedding,
            "index_embedding": self.index_embedding,
        }


def _check_cardinalities(cardinalities: Any) -> list[int]:
    """Checks the argument `cardinalities`, and returns it as a list of integers.

    Raises:
        ValueError: If it is not a sequence of integers of at least 0, or is empty.
    """
    counts = list(cardinalities) if isinstance(cardinalities, Iterable) else []
    if not counts or not all(is_number(count) and count >= 0 and int(count) == count for count in counts):
        reject(
            "cardinalities", cardinalities, "must list the number of categories of each column, or 0 if it is numeric"
        )
    return [int(count) for count in counts]
