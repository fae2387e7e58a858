"""A token for each column of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.ops.joint_embedding import column_tokens


@export("models.FeatureTokenizer", kind="layer", arxiv="2410.05016", year=2024)
class FeatureTokenizer(keras.layers.Layer):
    """Feature tokenizer: makes a token of each column, numeric or categorical, of the rows of a table.

    A numeric column j becomes x_j w_j + b_j, a categorical one the embedding of its category + b_j. The tokens are in
    the order of the columns. Scale numeric columns first, and fill in what is missing.

    Args:
        width: The width of a token.
        cardinalities: For each column its number of categories, which come as numbers from 0; 0 for a numeric column.
            `None` for numeric columns only, as many as the rows have.
        type_embedding: Whether to add one learned vector to all numeric, another to all categorical tokens.
        index_embedding: Whether to add a learned vector to the tokens of each column. The bias b is one already.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Rows, shape (batch, columns), of any numeric type; they are not rounded to the compute dtype before
            categories are looked up.

    Returns:
        Tokens, shape (batch, columns, width). The token of a category that does not exist is NaN, so that a loss shows
        it; `check(rows)` says so before.

    Raises:
        ValueError: If an argument is out of its range, or the rows have another number of columns.

    Example:

    ```python
    tokenizer = keras_reg.models.FeatureTokenizer(8, cardinalities=(0, 0, 3))
    tokenizer(np.float32([[0.1, -1.2, 2], [0.4, 0.3, 0]]))  # (2, 3, 8)
    ```

    Source: Hugo Thimonier, Jose Lucas De Melo Costa, Fabrice Popineau, Arpad Rimmel, Bich-Lien Doan, T-JEPA:
    Augmentation-Free Self-Supervised Learning for Tabular Data, arXiv 2410.05016, 2024; after Yury Gorishniy, Ivan
    Rubachev, Valentin Khrulkov, Artem Babenko, Revisiting Deep Learning Models for Tabular Data, 2106.11959, 2021.
    """

    def __init__(
        self,
        width: int,
        cardinalities: Sequence[int] | None = None,
        type_embedding: bool = False,
        index_embedding: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})  # half precision would round large category numbers
        self.width = check_integer("width", width)
        for name, value in {"type_embedding": type_embedding, "index_embedding": index_embedding}.items():
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
        self.cardinalities = None if cardinalities is None else _check_cardinalities(cardinalities)
        self.type_embedding = type_embedding
        self.index_embedding = index_embedding

    def build(self, input_shape: Any) -> None:
        """Makes vectors for columns and categories."""
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
        # As wide as a linear layer's: uniform, at most 1 / sqrt(width).
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

    def call(self, inputs: Any) -> Any:
        """A token for each column."""
        biases = ops.convert_to_tensor(self.bias)
        if self.types is not None:
            categorical = ops.convert_to_tensor((self._counts > 0).astype("int32"))
            biases = biases + ops.take(self.types, categorical, axis=0)
        if self.indices is not None:
            biases = biases + ops.convert_to_tensor(self.indices)
        tokens = column_tokens(inputs, self._counts, self.weight, self.embeddings, biases)
        return ops.cast(tokens, self.compute_dtype)

    def check(self, rows: np.ndarray) -> None:
        """Raises a `ValueError` for an array that is no table for this tokenizer.

        Args:
            rows: What shall be shape (rows, columns), finite, with categories that exist.
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
                    f"Fill in what is missing first. Received: column {column} with {(~np.isfinite(values)).sum()} "
                    "values that are not finite"
                )
            if count and ((values < 0) | (values >= count) | (values != np.floor(values))).any():
                raise ValueError(
                    f"Column {column} must hold the numbers of {count} categories, 0 to {count - 1}. "
                    f"Received: values from {values.min()} to {values.max()}"
                )

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """(batch, columns, width)."""
        return (*input_shape, self.width)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "width": self.width,
            "cardinalities": self.cardinalities,
            "type_embedding": self.type_embedding,
            "index_embedding": self.index_embedding,
        }


def _check_cardinalities(cardinalities: Any) -> list[int]:
    try:
        counts = [int(count) for count in cardinalities if not isinstance(count, bool) and int(count) == count]
        right = len(counts) == len(cardinalities) > 0 and min(counts) >= 0
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(
            "`cardinalities` must hold for each column its number of categories, or 0 for a numeric one. "
            f"Received: cardinalities={cardinalities!r}"
        )
    return counts
