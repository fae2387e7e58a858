"""An LSTM whose weights respond to hyperparameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_integer
from keras_reg.layers._hyper import HyperLayer, HyperWeight, fold_into


class HyperLSTMCell(HyperLayer):
    """One step of `HyperLSTM`.

    Args:
        units: The size of the state.
        hyperparameters: As of `HyperDense`.
        centered: As of `HyperDense`.
        l2: As of `HyperDense`.
        **kwargs: As of any layer.
    """

    def __init__(self, units: int, hyperparameters: Any, centered: bool, l2: Any, **kwargs: Any) -> None:
        super().__init__(hyperparameters, centered, l2, **kwargs)
        self.units = check_integer("units", units)
        self.state_size, self.output_size = [self.units, self.units], self.units

    def build(self, input_shape: Any) -> None:
        """Makes the weights: of the inputs and of the state, each with a bias, as in the papers' code."""
        self.input_spec = keras.layers.InputSpec(axes={-1: input_shape[-1]})
        self.responses = (
            HyperWeight(self, (input_shape[-1], 4 * self.units)),
            HyperWeight(self, (self.units, 4 * self.units), prefix="recurrent_"),
        )

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        """The output, and the state after the step."""
        hidden, carry = states
        numbers = self.hyper_inputs()
        of_inputs, of_state = self.responses
        gates = of_inputs(_times(inputs), numbers) + of_state(_times(hidden), numbers)
        take, forget, candidate, give = ops.split(ops.cast(gates, inputs.dtype), 4, -1)
        carry = ops.sigmoid(forget) * carry + ops.sigmoid(take) * ops.tanh(candidate)
        hidden = ops.sigmoid(give) * ops.tanh(carry)
        return hidden, [hidden, carry]


def _times(rows: Any) -> Callable[[Any], Any]:
    return lambda kernel: ops.matmul(rows, ops.cast(kernel, rows.dtype))


@export("layers.HyperLSTM", kind="layer", arxiv="1903.03088", year=2019)
class HyperLSTM(keras.layers.RNN):
    """An LSTM whose weights respond to hyperparameters, as in Self-Tuning Networks.

    See `HyperDense` for what that means.

    Args:
        units: The size of the state.
        return_sequences: Whether to give the outputs of all steps.
        return_state: Whether to give the last state too.
        hyperparameters: As of `HyperDense`.
        centered: As of `HyperDense`.
        l2: As of `HyperDense`; of both kernels.
        **kwargs: As of `keras.layers.RNN`: `go_backwards`, `stateful`, `unroll`, `name`, `trainable`, `dtype`.

    Call arguments:
        sequences: Shape (batch, steps, size).
        initial_state: A list of the hidden and the carried state, or `None` for zeros.
        mask: Booleans, shape (batch, steps), or `None`.
        training: Whether to add the penalty to the loss.

    Returns:
        As of `keras.layers.LSTM`.

    Raises:
        ValueError: If an argument is out of its range.

    Example:

    ```python
    rate = keras_reg.tune.Float("dropout", init=0.2, low=0.0, high=0.9)
    layer = keras_reg.layers.HyperLSTM(4, hyperparameters=[rate])
    layer(np.ones((2, 5, 3), "float32"))
    layer.fold()  # a keras.layers.LSTM
    ```

    Source: Matthew MacKay, Paul Vicol, Jon Lorraine, David Duvenaud, Roger Grosse, Self-Tuning Networks, arXiv
    1903.03088, 2019; with `centered`, Juhan Bae, Roger Grosse, Delta-STN, arXiv 2010.13514, 2020.
    """

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        return_state: bool = False,
        *,
        hyperparameters: Any,
        centered: bool = True,
        l2: Any = None,
        **kwargs: Any,
    ) -> None:
        cell = HyperLSTMCell(units, hyperparameters, centered, l2, name="cell", dtype=kwargs.get("dtype"))
        super().__init__(cell, return_sequences, return_state, **kwargs)

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """The outputs, for each sample with the weights for its hyperparameters."""
        if training:
            self.cell.penalize()  # not in the loop
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def fold(self) -> keras.layers.Layer:
        """A `keras.layers.LSTM` that computes the same at the present values of the hyperparameters.

        Returns:
            A new layer, built, without the hyperparameters and the penalty.

        Raises:
            ValueError: If this layer is not built yet.
        """
        config = super().get_config()
        del config["cell"]
        return fold_into(self, keras.layers.LSTM(self.cell.units, **config), self._folded)

    def _folded(self) -> list[Any]:
        kernel, bias, recurrent_kernel, recurrent_bias = self.cell.folded()
        return [kernel, recurrent_kernel, bias + recurrent_bias]

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        config = {**super().get_config(), "units": self.cell.units}
        of_cell = config.pop("cell")["config"]
        return {**config, **{name: of_cell[name] for name in ("hyperparameters", "centered", "l2")}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> HyperLSTM:
        """The layer of a configuration."""
        return cls(**config)
