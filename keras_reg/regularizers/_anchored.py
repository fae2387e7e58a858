"""What regularizers have in common that draw weights to values of their own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.step_inputs import StepInputVariable
from keras_reg._validation import check_number
from keras_reg.ops.anchored import anchored_penalty


class Constant(StepInputVariable):
    """An array that compiled steps take as an input, and that is none of the model's weights."""

    def __init__(self, shape: tuple[int, ...], name: str) -> None:
        # Of float16 and bfloat16 too the exact value.
        dtype = "float64" if keras.config.floatx() == "float64" else "float32"
        super().__init__(
            keras.Variable(initializer="zeros", shape=shape, dtype=dtype, trainable=False, autocast=False, name=name)
        )


class AnchoredRegularizer(keras.regularizers.Regularizer, keras.layers.Layer):
    """A regularizer of one variable, with arrays of its shape.

    It is a layer too, so that the layer which has it as an argument tracks its arrays, and files of models and of
    weights hold them.

    Args:
        strength: The factor of the penalty.
        shape: The shape of the variable; `None` before there is one.
        names: What the arrays are called, the anchor first.
    """

    def __init__(self, strength: float, shape: tuple[int, ...] | None, names: tuple[str, ...]) -> None:
        super().__init__()
        self.strength = check_number("strength", strength)
        self.shape = _check_shape(shape)
        self.constants: dict[str, Constant] = {}
        if self.shape is not None:
            self.constants = {name: Constant(self.shape, name) for name in names}
        self.known = False  # whether the arrays have got their values

    @property
    def anchor(self) -> Any:
        """Where the weights are drawn to, a `keras.Variable`; `None` before there is a variable."""
        return self.constants["anchor"].state if self.constants else None

    @property
    def importance(self) -> Any:
        """How strongly each weight is drawn, a `keras.Variable`; `None` where all are alike."""
        return self.constants["importance"].state if "importance" in self.constants else None

    def __call__(self, x: Any) -> Any:
        """The penalty of the variable, times the strength."""
        if not self.known:
            raise ValueError(
                f"{type(self).__name__} does not know its anchors: let `keras_reg.apply_regularizer` take the present "
                "weights of a built model, or load the weights of a model that has them. "
                f"Received: a variable of shape {tuple(x.shape)}"
            )
        return self.strength * anchored_penalty(x, self.anchor, self.importance)

    def set(self, **arrays: Any) -> None:
        """Gives the arrays their values.

        Raises:
            ValueError: If one has another shape than the variable.
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
        self.known = True

    def take(self, other: AnchoredRegularizer) -> None:
        """Takes the arrays of a regularizer of the same class and shape."""
        if other.known:
            self.set(**other._arrays())

    def _arrays(self) -> dict[str, np.ndarray]:
        # Copies: PyTorch shows its own memory, and on JAX no two variables may share a buffer.
        return {name: np.array(ops.convert_to_numpy(c.state)) for name, c in self.constants.items()}

    def save_own_variables(self, store: Any) -> None:
        """Keras writes a file of weights."""
        if self.known:
            for name, array in self._arrays().items():
                store[name] = array

    def load_own_variables(self, store: Any) -> None:
        """Keras reads a file of weights. One of a plain model leaves the arrays as they are."""
        stored = {name: np.asarray(store[name]) for name in store.keys() if name in self.constants}  # noqa: SIM118
        if stored:
            self.set(**stored)


def anchored_regularizers(layer: keras.Layer) -> dict[str, AnchoredRegularizer]:
    """The regularizers with anchors that are arguments of a layer, by attribute."""
    found = {name: getattr(layer, name, None) for name in dir(layer) if name.endswith("_regularizer")}
    return {name: value for name, value in found.items() if isinstance(value, AnchoredRegularizer)}


def _check_shape(shape: Any) -> tuple[int, ...] | None:
    if shape is None:
        return None
    integers = isinstance(shape, (tuple, list)) and all(isinstance(s, (int, np.integer)) and s > 0 for s in shape)
    if not integers:
        raise ValueError(f"`shape` must be a tuple of positive integers or None. Received: shape={shape!r}")
    return tuple(int(size) for size in shape)
