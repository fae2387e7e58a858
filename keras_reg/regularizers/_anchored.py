"""The base class of regularizers that pull weights towards anchors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.step_inputs import StepInputVariable
from keras_reg._types import Array, Tensor
from keras_reg._validation import check_number, is_integer, reject
from keras_reg.ops.anchored import anchored_penalty
from keras_reg.regularizers.sum import list_parts


class Constant(StepInputVariable):
    """Holds an array that compiled steps take as an input and that is not one of the model's weights."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        # These types represent every value of float16 and bfloat16 weights exactly.
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
        super().__init__(
            keras.Variable(initializer="zeros", shape=shape, dtype=dtype, trainable=False, autocast=False, name=name)
        )


class AnchoredRegularizer(keras.regularizers.Regularizer, keras.layers.Layer):
    """Penalizes the distance of one variable from an anchor, with arrays of the shape of the variable.

    The class is also a layer. A layer that has the regularizer as an argument therefore tracks its arrays, and model
    files and weights files contain them.

    Args:
        strength: Float. The factor of the penalty.
        shape: Tuple. The shape of the variable, or `None` if there is no variable yet.
        names: Tuple. The names of the arrays, the anchor first.
    """

    def __init__(self, strength: float, shape: tuple[int, ...] | None, names: tuple[str, ...]) -> None:
        super().__init__()
        self.strength = check_number("strength", strength)
        self.shape = _check_shape(shape)
        self.constants: dict[str, Constant] = {}
        if self.shape is not None:
            self.constants = {name: Constant(self.shape, name) for name in names}
        self.has_values = False

    @property
    def anchor(self) -> keras.Variable | None:
        """Returns the values that the weights are pulled to, or `None` if there is no variable yet."""
        return self.constants["anchor"].state if self.constants else None

    @property
    def importance(self) -> keras.Variable | None:
        """Returns the importance of each weight, or `None` if all weights have the same importance."""
        return self.constants["importance"].state if "importance" in self.constants else None

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the penalty of a variable, multiplied by the strength."""
        if not self.has_values:
            raise ValueError(
                f"{type(self).__name__} does not know its anchors. Call `keras_reg.apply_regularizer`, which takes the "
                "current weights of a built model, or load the weights of a model that has anchors. "
                f"Received: a variable of shape {tuple(x.shape)}"
            )
        return self.strength * anchored_penalty(x, self.anchor, self.importance)

    def assign(self, **arrays: Any) -> None:
        """Assigns values to the arrays.

        Args:
            **arrays: The values by the name of the array.

        Raises:
            ValueError: If the shape of an array differs from that of the variable.
        """
        for name, array in arrays.items():
            if tuple(array.shape) != self.shape:
                raise ValueError(
                    f"The {name} must have the shape of the variable, {self.shape}. "
                    f"Received: {name} of shape {tuple(array.shape)}"
                )
        for name, array in arrays.items():
            state = self.constants[name].state
            state.assign(np.asarray(array, state.dtype))
        self.has_values = True

    def copy_from(self, other: AnchoredRegularizer) -> None:
        """Copies the arrays of a regularizer of the same class and shape, if it has values."""
        if other.has_values:
            self.assign(**other._export_arrays())

    def _export_arrays(self) -> dict[str, Array]:
        # The arrays are copied: PyTorch returns a view of its memory, and on JAX two variables must not share a buffer.
        return {name: np.array(ops.convert_to_numpy(c.state)) for name, c in self.constants.items()}

    def save_own_variables(self, store: Any) -> None:
        """Writes the arrays to a weights file."""
        if self.has_values:
            for name, array in self._export_arrays().items():
                store[name] = array

    def load_own_variables(self, store: Any) -> None:
        """Reads the arrays from a weights file. The file of a model without anchors leaves them unchanged."""
        stored = {name: np.asarray(store[name]) for name in store.keys() if name in self.constants}  # noqa: SIM118
        if stored:
            self.assign(**stored)


def list_anchored(regularizer: Any) -> list[AnchoredRegularizer]:
    """Returns the anchored regularizers that a regularizer consists of."""
    return [part for part in list_parts(regularizer) if isinstance(part, AnchoredRegularizer)]


def list_anchored_arguments(layer: keras.Layer) -> list[AnchoredRegularizer]:
    """Returns the anchored regularizers that are arguments of a layer, alone or in a sum."""
    arguments = [getattr(layer, name, None) for name in dir(layer) if name.endswith("_regularizer")]
    return [part for argument in arguments for part in list_anchored(argument)]


def _check_shape(shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, (tuple, list)) or not all(is_integer(size) and size > 0 for size in shape):
        reject("shape", shape, "must be a tuple of positive integers or None")
    return tuple(int(size) for size in shape)
