"""Embedding whose vectors respond to hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_boolean, check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight
from keras_reg.tune._hyperparameter import Hyperparameter


@export(
    "layers.HyperEmbedding",
    kind="layer",
    place="layer in place of a stock layer",
    tasks=("hyperparameter tuning",),
    arxiv="1903.03088",
    year=2019,
)
class HyperEmbedding(HyperLayer):
    """Looks up embedding vectors that respond to hyperparameters, as in Self-Tuning Networks.

    `keras_reg.layers.HyperDense` describes how weights respond.

    Args:
        input_dim: Integer. The number of tokens.
        output_dim: Integer. The size of a vector.
        mask_zero: Boolean. Whether token 0 is padding, as in `keras.layers.Embedding`. Defaults to `False`.
        hyperparameters: List of `keras_reg.tune.Float` and `Int`, as in `HyperDense`.
        centered: Boolean. Whether to use Delta-STN, as in `HyperDense`. Defaults to `True`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty on the whole table, as in
            `HyperDense`. Defaults to `None`.
        **kwargs: Arguments of `keras.layers.Layer`: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Integer tensor of shape (batch, ...).
        training: Boolean. Whether to add the penalty to the loss.

    Returns:
        Tensor of shape (batch, ..., output_dim).

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperEmbedding(100, 8, hyperparameters=[rate])
    layer(np.array([[1, 5, 2]]))
    layer.fold()  # a keras.layers.Embedding
    ```

    References:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians (`centered=True`)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        mask_zero: bool = False,
        *,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool = True,
        l2: Hyperparameter | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, autocast=False, **kwargs)
        self.input_dim, self.output_dim = check_integer("input_dim", input_dim), check_integer("output_dim", output_dim)
        self.mask_zero = self.supports_masking = check_boolean("mask_zero", mask_zero)

    def build(self, input_shape: Shape | None = None) -> None:
        """Creates the tables."""
        self.responses = (HyperWeight(self, (self.input_dim, self.output_dim), use_bias=False, limit=0.1),)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the vectors, for each sample with the table for its hyperparameters."""
        if training:
            self.penalize()
        (weight,) = self.responses
        inputs = ops.cast(inputs, "int32")
        outputs = weight(lambda table: ops.take(table, inputs, axis=0), self.compute_hyper_inputs())
        return ops.cast(outputs, self.compute_dtype)

    def compute_mask(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor | None:
        """Returns a mask that is True for tokens other than 0, or `None` without `mask_zero`."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the inputs with `output_dim` as an additional last axis."""
        return (*input_shape, self.output_dim)

    def make_plain_layer(self) -> keras.layers.Layer:
        """Returns a `keras.layers.Embedding` that is not built."""
        return keras.layers.Embedding(
            self.input_dim, self.output_dim, mask_zero=self.mask_zero, name=self.name, dtype=self.dtype_policy
        )

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "mask_zero": self.mask_zero,
        }
