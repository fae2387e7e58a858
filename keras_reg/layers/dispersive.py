"""Dispersive losses as a layer."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import export
from keras_reg._validation import check_choice, check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.dispersive import KINDS, dispersive_loss


@export("layers.Dispersive", kind="layer", arxiv="2506.09027", year=2025)
class Dispersive(ActivityPenaltyLayer):
    """Draws the representations of a batch away from each other: a contrastive loss without positive pairs.

    The layer stands behind the block whose outputs shall spread, returns them as they are, and adds its term to the
    loss while the model is trained.

    Args:
        strength: The factor of the term.
        kind: How closeness is measured: `"l2"`, the paper's best, or `"cosine"`, `"hinge"`, `"covariance"`; see
            `keras_reg.ops.dispersive_loss`.
        temperature: The scale of the exponential, for `"l2"` and `"cosine"`.
        margin: The squared distance per feature from which on two samples are left alone, for `"hinge"`.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: Representations, shape (batch, ...); all but the first axis are features.
        training: Whether to add the term.

    Returns:
        The inputs.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(16, "relu")(inputs)
    hidden = keras_reg.layers.Dispersive(strength=0.25)(hidden)
    classifier = keras.Model(inputs, keras.layers.Dense(10)(hidden))
    ```

    Source: Runqian Wang, Kaiming He, Diffuse and Disperse: Image Generation with Representation Regularization, arXiv
    2506.09027, 2025; squared distances are divided by the number of features as in the authors' code.
    """

    def __init__(
        self, strength: float = 0.5, kind: str = "l2", temperature: float = 0.5, margin: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(strength, **kwargs)
        self.kind = check_choice("kind", kind, KINDS)
        self.temperature = check_number("temperature", temperature, above=0.0)
        self.margin = check_number("margin", margin, above=0.0)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the inputs; in training, adds the term."""
        if training:
            z = self.gather_batch(inputs)
            self.add_loss(self.strength * dispersive_loss(z, self.kind, self.temperature, self.margin))
        return inputs

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        own = {"kind": self.kind, "temperature": self.temperature, "margin": self.margin}
        return {**super().get_config(), **own}
