"""A layer that limits information by the Cauchy-Schwarz divergence."""

from __future__ import annotations

from typing import Any

from keras_reg._registry import Range, export
from keras_reg._types import Config, Tensor
from keras_reg._validation import check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.cauchy_schwarz import cauchy_schwarz_information


@export(
    "layers.CauchySchwarzBottleneck",
    kind="layer",
    tasks=("small data",),
    tunable={"strength": Range(0.0001, 0.1, log=True), "bandwidth": Range(0.3, 3.0, log=True)},
    arxiv="2404.17951",
    year=2024,
)
class CauchySchwarzBottleneck(ActivityPenaltyLayer):
    """Limits the information about the inputs in a representation: an information bottleneck without a decoder.

    During training, the layer adds the Cauchy-Schwarz quadratic mutual information of inputs and representation to the
    loss. It estimates this information from the batch with Gaussian kernels.

    The widths of the kernels decide which samples count as similar. Start with the median distance between samples.
    If the widths are much too small or too large, the term is nearly constant and has no effect.

    Args:
        strength: Float. Factor of the term. Defaults to `0.01`.
        input_bandwidth: Float above 0. Width of the kernel of the inputs, in units of their Euclidean distances.
            Defaults to `1.0`.
        bandwidth: Float above 0. Width of the kernel of the representation, in units of its Euclidean distances.
            Defaults to `1.0`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: List of two tensors, `[inputs of the model, representation]`, each of shape `(batch, ...)`.
        training: Boolean. Whether to add the term.

    Returns:
        The representation, unchanged.

    Raises:
        ValueError: If an argument is out of range. A call raises the error if there are not two inputs.

    Example:

    ```python
    inputs = keras.Input((6,), name="features")
    hidden = keras.layers.Dense(16, "relu")(inputs)
    bottleneck = keras_reg.layers.CauchySchwarzBottleneck(
        1e-2, input_bandwidth=3.0
    )
    hidden = bottleneck([inputs, hidden])
    regressor = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    ```

    Reference:

    - [Yu et al., 2024](https://arxiv.org/abs/2404.17951): Cauchy-Schwarz Divergence Information Bottleneck for
      Regression. This layer is the term of the representation alone.
    """

    def __init__(
        self, strength: float = 0.01, *, input_bandwidth: float = 1.0, bandwidth: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(strength, **kwargs)
        self.input_bandwidth = check_number("input_bandwidth", input_bandwidth, above=0.0)
        self.bandwidth = check_number("bandwidth", bandwidth, above=0.0)

    def call(self, inputs: list[Tensor], training: bool = False) -> Tensor:
        """Returns the representation and, during training, adds the term to the loss."""
        x, representation = self._unpack(inputs)
        if training:
            pair = self.gather_batch(x), self.gather_batch(representation)
            self.add_loss(self.strength * cauchy_schwarz_information(*pair, self.input_bandwidth, self.bandwidth))
        return representation

    def compute_mask(self, inputs: list[Tensor], previous_mask: list[Tensor] | None) -> Tensor | None:
        """Returns the mask of the representation."""
        return None if previous_mask is None else self._unpack(previous_mask)[1]

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "input_bandwidth": self.input_bandwidth, "bandwidth": self.bandwidth}

    def _unpack(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """Returns both tensors of a pair, or raises a `ValueError` for anything else."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError(
                "CauchySchwarzBottleneck takes a list of two tensors, [inputs of the model, representation]. "
                f"Received: {inputs!r}"
            )
        return inputs[0], inputs[1]
