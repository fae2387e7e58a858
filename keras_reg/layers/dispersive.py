"""A layer that adds a dispersive loss."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_choice, check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.dispersive import KINDS, dispersive_loss


@export(
    "layers.Dispersive",
    kind="layer",
    tasks=("small data", "self-supervised learning"),
    tunable={"strength": Range(0.01, 1.0, log=True), "temperature": Range(0.1, 2.0, log=True)},
    arxiv="2506.09027",
    year=2025,
)
class Dispersive(ActivityPenaltyLayer):
    """Pushes the representations of a batch apart, as a contrastive loss without positive pairs.

    Place the layer after the block whose outputs should spread. It returns them unchanged, and adds its term to the
    loss during training.

    Args:
        strength: Float. Factor of the term. Defaults to `0.5`.
        kind: String. Measure of closeness: `"l2"`, which is best in the paper, `"cosine"`, `"hinge"` or
            `"covariance"`. See `keras_reg.ops.dispersive_loss`. Defaults to `"l2"`.
        temperature: Float above 0. Scale of the exponential, for `"l2"` and `"cosine"`. Defaults to `0.5`.
        margin: Float above 0. Squared distance per feature beyond which two samples do not repel each other, for
            `"hinge"`. Defaults to `1.0`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Representations of shape `(batch, ...)`. All axes except the first one are features.
        training: Boolean. Whether to add the term.

    Returns:
        The inputs, unchanged.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(16, "relu")(inputs)
    hidden = keras_reg.layers.Dispersive(strength=0.25)(hidden)
    classifier = keras.Model(inputs, keras.layers.Dense(10)(hidden))
    ```

    Reference:

    - [Wang and He, 2025](https://arxiv.org/abs/2506.09027): Diffuse and Disperse: Image Generation with Representation
      Regularization. Squared distances are divided by the number of features, as in the authors' code.
    """

    def __init__(
        self, strength: float = 0.5, *, kind: str = "l2", temperature: float = 0.5, margin: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(strength, **kwargs)
        self.kind = check_choice("kind", kind, KINDS)
        self.temperature = check_number("temperature", temperature, above=0.0)
        self.margin = check_number("margin", margin, above=0.0)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns the inputs and, during training, adds the term to the loss."""
        if training:
            z = self.gather_batch(inputs)
            self.add_loss(self.strength * dispersive_loss(z, self.kind, self.temperature, self.margin))
        return inputs

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = {"kind": self.kind, "temperature": self.temperature, "margin": self.margin}
        return {**super().get_config(), **config}
