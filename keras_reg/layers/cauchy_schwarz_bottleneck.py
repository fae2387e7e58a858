"""The information bottleneck of the Cauchy-Schwarz divergence as a layer."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.cauchy_schwarz import cauchy_schwarz_information


@export("layers.CauchySchwarzBottleneck", kind="layer", arxiv="2404.17951", year=2024)
class CauchySchwarzBottleneck(ActivityPenaltyLayer):
    """Lets a representation keep little information about the inputs: an information bottleneck without a decoder.

    It adds the Cauchy-Schwarz quadratic mutual information between the two, estimated from the batch by Gaussian
    kernels, to the loss while the model is trained. Their widths decide what counts as the same; the median distance
    between samples is a start. Much too small or large ones give a term near a constant, without effect.

    Args:
        strength: The factor of the term.
        input_bandwidth: The width of the kernel of the inputs, in the units of their Euclidean distances.
        bandwidth: The width of the kernel of the representation, likewise.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: A list of two tensors, [inputs of the model, representation], each of shape (batch, ...).
        training: Whether to add the term.

    Returns:
        The representation.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if there are not two inputs.

    Example:

    ```python
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(16, "relu")(inputs)
    hidden = keras_reg.layers.CauchySchwarzBottleneck(1e-2, input_bandwidth=3.0)([inputs, hidden])
    regressor = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    ```

    Source: Shujian Yu, Xi Yu, Sigurd Løkse, Robert Jenssen, Jose C. Principe, Cauchy-Schwarz Divergence Information
    Bottleneck for Regression, arXiv 2404.17951, 2024; the term of the representation alone.
    """

    def __init__(
        self, strength: float = 1e-2, input_bandwidth: float = 1.0, bandwidth: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(strength, **kwargs)
        self.input_bandwidth = check_number("input_bandwidth", input_bandwidth, above=0.0)
        self.bandwidth = check_number("bandwidth", bandwidth, above=0.0)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Returns the representation; in training, adds the term."""
        x, representation = self._pair(inputs)
        if training:
            pair = self.gather_batch(x), self.gather_batch(representation)
            self.add_loss(self.strength * cauchy_schwarz_information(*pair, self.input_bandwidth, self.bandwidth))
        return representation

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """The mask of the representation."""
        return None if previous_mask is None else self._pair(previous_mask)[1]

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        return {**super().get_config(), "input_bandwidth": self.input_bandwidth, "bandwidth": self.bandwidth}

    def _pair(self, inputs: Any) -> tuple[Any, Any]:
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError(
                "CauchySchwarzBottleneck takes a list of two tensors, [inputs of the model, representation]. "
                f"Received: {inputs!r}"
            )
        return inputs[0], inputs[1]
