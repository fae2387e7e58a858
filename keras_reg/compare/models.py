"""The models of a comparison. Each returns logits, is not compiled, and has a named input."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

import keras
import numpy as np

from keras_reg._types import Tensor
from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError, format_error

ModelFunction = Callable[[tuple[int, ...], int], keras.Model]

NAMES = ("auto", "mlp", "cnn", "resnet")


def mlp(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Builds a multilayer perceptron with two hidden layers of 256 units."""
    inputs = _make_input(input_shape)
    x = keras.layers.Flatten()(inputs) if len(input_shape) > 1 else inputs
    for _ in range(2):
        x = keras.layers.Dense(256, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name="mlp")


def cnn(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Builds a network of four convolutions, with max pooling after every second one, and 128 hidden units."""
    x = inputs = _make_input(input_shape)
    for filters in (32, 64):
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = keras.layers.MaxPooling2D(padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name="cnn")


def resnet(input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Builds an 8-layer residual network with batch normalization for 32 x 32 images, with about 78,000 parameters."""
    inputs = _make_input(input_shape)
    x = _normalize(keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(inputs))
    x = keras.layers.ReLU()(x)
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        shortcut = x
        if stride != 1:
            shortcut = _normalize(keras.layers.Conv2D(filters, 1, strides=stride, use_bias=False)(x))
        x = _normalize(keras.layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x))
        x = keras.layers.ReLU()(x)
        x = _normalize(keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x))
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="logits")(x), name="resnet")


def _make_input(shape: tuple[int, ...]) -> Tensor:
    """Returns the named input of a model."""
    return keras.Input(shape, name="image" if len(shape) > 1 else "features")


def _normalize(x: Tensor) -> Tensor:
    """Applies batch normalization with a momentum that converges within the few epochs of a comparison."""
    return keras.layers.BatchNormalization(momentum=0.9)(x)


def resolve_name(name: str, dataset: Dataset) -> str:
    """Returns the name of a model. `"auto"` means a CNN for images of at least 16 pixels, and otherwise an MLP."""
    if name != "auto":
        return name
    return "cnn" if dataset.is_image and min(dataset.x.shape[1:3]) >= 16 else "mlp"


def find_model_function(name: str, dataset: Dataset) -> ModelFunction:
    """Finds the model of a comparison, builds it once and checks its outputs.

    Args:
        name: `"auto"`, `"mlp"`, `"cnn"`, `"resnet"`, or `"package.module:function"`, a function of the input shape
            and the number of classes.
        dataset: The data on which the model will be trained.

    Returns:
        The function that builds the model.

    Raises:
        InputError: If the model does not exist or does not match the data.
    """
    name = resolve_name(name, dataset)
    if name in ("cnn", "resnet") and not dataset.is_image:
        raise InputError(f"the model {name!r} needs images, but {dataset.name} consists of feature vectors; use mlp")
    function: ModelFunction = {"mlp": mlp, "cnn": cnn, "resnet": resnet}.get(name) or _import_function(name)
    _try_out(name, function, dataset)
    return function


def _import_function(path: str) -> ModelFunction:
    """Imports the function `package.module:function`."""
    module_name, colon, attribute = path.partition(":")
    if not (colon and module_name and attribute):
        raise InputError(f"the model {path!r} must be one of {', '.join(NAMES)} or package.module:function")
    # Unlike `python -m`, a console script does not look for modules in the current folder.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"the model {path!r} cannot be imported: {format_error(error)}") from error
    if not callable(function):
        raise InputError(f"the model {path!r} is not a function of (input_shape, num_classes)")
    return function  # type: ignore[no-any-return]


def _try_out(name: str, function: ModelFunction, dataset: Dataset) -> None:
    """Builds the model once and checks its outputs for two samples."""
    try:
        model = function(tuple(dataset.x.shape[1:]), dataset.num_classes)
        if not isinstance(model, keras.Model):
            raise TypeError(f"it returned {type(model).__name__}, not a keras.Model")
        outputs = model(dataset.x[:2].astype("float32"))
        logits = np.asarray(keras.ops.convert_to_numpy(outputs))
    except Exception as error:
        raise InputError(f"the model {name!r} cannot be built for {dataset.name}: {format_error(error)}") from error
    if logits.shape != (2, dataset.num_classes):
        raise InputError(
            f"the model {name!r} returns shape {logits.shape}, not (2, {dataset.num_classes}), for 2 samples"
        )
    if np.all(logits >= 0) and np.allclose(logits.sum(axis=-1), 1, atol=1e-4):
        raise InputError(
            f"the model {name!r} returns probabilities; it must return logits (without softmax at the end)"
        )
