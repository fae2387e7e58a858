"""An embedding whose vectors respond to hyperparameters."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight


@export("layers.HyperEmbedding", kind="layer", arxiv="1903.03088", year=2019)
class HyperEmbedding(HyperLayer):
    """An embedding whose vectors respond to hyperparameters, as in Self-Tuning Networks.

    See `HyperDense` for what that means.

    Args:
        input_dim: How many words.
        output_dim: The size of their vectors.
        mask_zero: Whether 0 is padding, as of `keras.layers.Embedding`.
        hyperparameters: As of `HyperDense`.
        centered: As of `HyperDense`.
        l2: As of `HyperDense`; of the whole table.
        **kwargs: As of any layer: `name`, `trainable`, `dtype`.

    Call arguments:
        inputs: Integers, shape (batch, ...).
        training: Whether to add the penalty to the loss.

    Returns:
        Shape (batch, ..., output_dim).

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperEmbedding(100, 8, hyperparameters=[rate])
    layer(np.array([[1, 5, 2]]))
    layer.fold()  # a keras.layers.Embedding
    ```

    Source: Matthew MacKay, Paul Vicol, Jon Lorraine, David Duvenaud, Roger Grosse, Self-Tuning Networks, arXiv
    1903.03088, 2019; with `centered`, Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        mask_zero: bool = False,
        *,
        hyperparameters: Any,
        centered: bool = True,
        l2: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, autocast=False, **kwargs)
        self.input_dim, self.output_dim = check_integer("input_dim", input_dim), check_integer("output_dim", output_dim)
        self.mask_zero = self.supports_masking = bool(mask_zero)

    def build(self, input_shape: Any = None) -> None:
        """Makes the tables."""
        self.responses = (HyperWeight(self, (self.input_dim, self.output_dim), use_bias=False, limit=0.1),)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The vectors, for each sample with those for its hyperparameters."""
        if training:
            self.penalize()
        (weight,) = self.responses
        inputs = ops.cast(inputs, "int32")
        outputs = weight(lambda table: ops.take(table, inputs, axis=0), self.hyper_inputs())
        return ops.cast(outputs, self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where there is a word, with `mask_zero`."""
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """As the inputs, with vectors."""
        return (*input_shape, self.output_dim)

    def plain(self) -> keras.layers.Layer:
        """An embedding."""
        return keras.layers.Embedding(
            self.input_dim, self.output_dim, mask_zero=self.mask_zero, name=self.name, dtype=self.dtype_policy
        )

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        own = {"input_dim": self.input_dim, "output_dim": self.output_dim, "mask_zero": self.mask_zero}
        return {**super().get_config(), **own}
