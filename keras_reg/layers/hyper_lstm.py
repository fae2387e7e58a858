"""LSTM whose weights respond to hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._types import Config, Shape, Structure, Tensor, TensorFunction
from keras_reg._validation import check_boolean, check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight, fold_into
from keras_reg.tune._hyperparameter import Hyperparameter


class HyperLSTMCell(HyperLayer):
    """Computes one step of `HyperLSTM`.

    Args:
        units: Integer. The size of the state.
        hyperparameters: List of `keras_reg.tune.Float` and `Int`, as in `HyperDense`.
        centered: Boolean. Whether to use Delta-STN, as in `HyperDense`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty, as in `HyperDense`.
        **kwargs: Arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If an argument is invalid.
    """

    def __init__(
        self,
        units: int,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool,
        l2: Hyperparameter | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.units = check_integer("units", units)
        self.state_size, self.output_size = [self.units, self.units], self.units

    def build(self, input_shape: Shape) -> None:
        """Creates one kernel for the inputs and one for the state, each with a bias, as in the papers' code."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.responses = (
            HyperWeight(self, (input_shape[-1], 4 * self.units)),
            HyperWeight(self, (self.units, 4 * self.units), prefix="recurrent_"),
        )

    def call(self, inputs: Tensor, states: Sequence[Tensor], training: bool = False) -> tuple[Tensor, list[Tensor]]:
        """Returns the output and the next state."""
        hidden, carry = states
        hyper_inputs = self.compute_hyper_inputs()
        input_weight, recurrent_weight = self.responses
        gates = input_weight(_multiply(inputs), hyper_inputs) + recurrent_weight(_multiply(hidden), hyper_inputs)
        input_gate, forget_gate, candidate, output_gate = ops.split(ops.cast(gates, inputs.dtype), 4, -1)
        carry = ops.sigmoid(forget_gate) * carry + ops.sigmoid(input_gate) * ops.tanh(candidate)
        hidden = ops.sigmoid(output_gate) * ops.tanh(carry)
        return hidden, [hidden, carry]


def _multiply(rows: Tensor) -> TensorFunction:
    """Returns a function that multiplies the rows by a kernel."""
    return lambda kernel: ops.matmul(rows, ops.cast(kernel, rows.dtype))


@export(
    "layers.HyperLSTM",
    kind="layer",
    place="layer in place of a stock layer",
    tasks=("hyperparameter tuning",),
    arxiv="1903.03088",
    year=2019,
)
class HyperLSTM(keras.layers.RNN):
    """Applies an LSTM whose weights respond to hyperparameters, as in Self-Tuning Networks.

    `keras_reg.layers.HyperDense` describes how weights respond.

    Args:
        units: Integer. The size of the state.
        return_sequences: Boolean. Whether to return the outputs of all steps. Defaults to `False`.
        return_state: Boolean. Whether to return the last state too. Defaults to `False`.
        hyperparameters: List of `keras_reg.tune.Float` and `Int`, as in `HyperDense`.
        centered: Boolean. Whether to use Delta-STN, as in `HyperDense`. Defaults to `True`.
        l2: One of the hyperparameters, or `None`. The strength of an L2 penalty on both kernels, as in `HyperDense`.
            Defaults to `None`.
        **kwargs: Arguments of `keras.layers.RNN`: `go_backwards`, `stateful`, `unroll`, `name`, `trainable`, `dtype`.

    Call arguments:
        sequences: Tensor of shape (batch, steps, size).
        initial_state: List of the hidden state and the carry state, or `None` for zeros.
        mask: Boolean tensor of shape (batch, steps), or `None`.
        training: Boolean. Whether to add the penalty to the loss.

    Returns:
        The outputs of `keras.layers.LSTM`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperLSTM(4, hyperparameters=[rate])
    layer(np.ones((2, 5, 3), "float32"))
    layer.fold()  # a keras.layers.LSTM
    ```

    References:

    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians (`centered=True`)
    """

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        return_state: bool = False,
        *,
        hyperparameters: Sequence[Hyperparameter],
        centered: bool = True,
        l2: Hyperparameter | None = None,
        **kwargs: Any,
    ) -> None:
        return_sequences = check_boolean("return_sequences", return_sequences)
        return_state = check_boolean("return_state", return_state)
        cell = HyperLSTMCell(units, hyperparameters, centered, l2, name="cell", dtype=kwargs.get("dtype"))
        super().__init__(cell, return_sequences, return_state, **kwargs)

    def call(
        self,
        sequences: Tensor,
        initial_state: Sequence[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Structure:
        """Returns the outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.cell.penalize()  # The cell's `call` runs in a loop over steps, so it cannot add the penalty.
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def fold(self) -> keras.layers.Layer:
        """Returns a `keras.layers.LSTM` that computes the same outputs at the current values of the hyperparameters.

        Returns:
            A new layer without the hyperparameters and the penalty. It is built.

        Raises:
            ValueError: If this layer is not built.
        """
        config = super().get_config()
        del config["cell"]
        return fold_into(self, keras.layers.LSTM(self.cell.units, **config), self._compute_plain_weights)

    def _compute_plain_weights(self) -> list[Tensor]:
        """Returns the weights of a `keras.layers.LSTM`, which has one bias."""
        kernel, bias, recurrent_kernel, recurrent_bias = self.cell.compute_plain_weights()
        return [kernel, recurrent_kernel, bias + recurrent_bias]

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        config = {**super().get_config(), "units": self.cell.units}
        cell_config = config.pop("cell")["config"]
        return {**config, **{name: cell_config[name] for name in ("hyperparameters", "centered", "l2")}}

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> HyperLSTM:
        """Creates a layer from the constructor's arguments."""
        return cls(**config)
