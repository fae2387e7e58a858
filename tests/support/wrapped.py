"""Layers to wrap, and helpers for tests of wrapped layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_reg.layers import SigmaReparam, WeightCompander, WeightNormalization

L = keras.layers
BACKEND = keras.backend.backend()
CLASSES = (WeightCompander, WeightNormalization, SigmaReparam)
#: From Keras 3.16 on, recurrent layers do not pass masks on. They warn about this, even if no layer follows.
ENDS_MASKS = pytest.mark.filterwarnings(r"ignore:Layer 'lstm.*' \(of type \w+\) was passed an input with a mask")


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


TOKENS = np.array([[1, 4, 2, 0], [3, 3, 0, 0], [5, 1, 2, 4]], "int32")
ROWS, SEQUENCE, IMAGE, VOLUME = normal(6, 5), normal(3, 6, 4), normal(2, 7, 6, 3), normal(2, 5, 4, 4, 2)

#: For every supported layer: a function that makes it, and its inputs.
SUPPORTED: dict[str, tuple[Callable[[], keras.Layer], tuple[np.ndarray, ...]]] = {
    "Dense": (lambda: L.Dense(4), (ROWS,)),
    "EinsumDense": (lambda: L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="e"), (SEQUENCE,)),
    "Conv1D": (lambda: L.Conv1D(5, 3), (SEQUENCE,)),
    "Conv2D": (lambda: L.Conv2D(4, 3, strides=2, padding="same"), (IMAGE,)),
    "Conv3D": (lambda: L.Conv3D(3, 2), (VOLUME,)),
    "Conv1DTranspose": (lambda: L.Conv1DTranspose(5, 3), (SEQUENCE,)),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 2), (IMAGE,)),
    "Conv3DTranspose": (lambda: L.Conv3DTranspose(3, 2), (VOLUME,)),
    "DepthwiseConv1D": (lambda: L.DepthwiseConv1D(3, depth_multiplier=2), (SEQUENCE,)),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (IMAGE,)),
    "SeparableConv1D": (lambda: L.SeparableConv1D(5, 3), (SEQUENCE,)),
    "SeparableConv2D": (lambda: L.SeparableConv2D(5, 3), (IMAGE,)),
    "Embedding": (lambda: L.Embedding(6, 4), (TOKENS,)),
    "MultiHeadAttention": (lambda: L.MultiHeadAttention(2, 3), (SEQUENCE, SEQUENCE[:, :4])),
    "GroupQueryAttention": (lambda: L.GroupQueryAttention(3, 4, 2), (SEQUENCE, SEQUENCE[:, :4])),
    "SimpleRNN": (lambda: L.SimpleRNN(5), (SEQUENCE,)),
    "GRU": (lambda: L.GRU(5), (SEQUENCE,)),
    "LSTM": (lambda: L.LSTM(5, return_sequences=True), (SEQUENCE,)),
    "RNN": (lambda: L.RNN(L.GRUCell(5)), (SEQUENCE,)),
    "RNN stacked": (lambda: L.RNN([L.LSTMCell(5), L.SimpleRNNCell(3)]), (SEQUENCE,)),
    "Bidirectional": (lambda: L.Bidirectional(L.GRU(3)), (SEQUENCE,)),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(5)), (SEQUENCE,)),
}


def wrap(cls: type, layer: keras.Layer, **arguments: Any) -> keras.Layer:
    """Returns a wrapped layer whose initial forward pass is that of the layer, also during training."""
    if cls is WeightCompander:  # The bound must exceed orthogonal and Glorot weights.
        arguments = {"a": 1.5, **arguments}
    elif cls is WeightNormalization:
        arguments = {"data_init": False, **arguments}
    return cls(layer, **arguments)


def array(tensor: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(tensor))  # a copy: PyTorch assigns in place


def effective(layer: keras.Layer, training: bool = False) -> list[np.ndarray]:
    """Returns the effective kernels of a wrapped layer."""
    return [array(layer.effective(kernel, kernel.variable.value, training)) for kernel in layer.kernels]


class SumOfProducts(keras.losses.Loss):
    """Computes the sum of outputs times given numbers, which are its gradient.

    Do not use the value of this loss in TensorFlow's graph mode. The gradient does not depend on the outputs, so
    Grappler may run the assignment of the weights before the forward pass.
    """

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_true * y_pred


class HalfSquares(keras.losses.Loss):
    """Computes half the sum of squared differences. Its gradient is the difference."""

    def __init__(self) -> None:
        super().__init__(reduction="sum")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return 0.5 * (y_pred - y_true) ** 2


def step_differences(
    layer: keras.Layer, loss: keras.losses.Loss, x: np.ndarray, y: np.ndarray, **compile_arguments: Any
) -> tuple[float, dict[str, np.ndarray]]:
    """Returns the loss, and the gradient of each trained variable by name, which a step of SGD(1) subtracts."""
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype), layer])
    model.compile(keras.optimizers.SGD(1.0), loss, **compile_arguments)
    before = {variable.path: array(variable) for variable in model.trainable_variables}
    value = float(model.train_on_batch(x, y))
    return value, {v.path.split("/")[-1]: before[v.path] - array(v) for v in model.trainable_variables}


def trained(model: keras.Model, x: Any, y: Any, epochs: int = 2, **compile_arguments: Any) -> list[float]:
    """Trains with a small batch size, and returns the logged losses."""
    model.compile(keras.optimizers.SGD(0.05), "mse", **compile_arguments)
    return model.fit(x, y, batch_size=3, epochs=epochs, shuffle=False, verbose=0).history["loss"]
