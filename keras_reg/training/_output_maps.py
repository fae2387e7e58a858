"""Maps between the outputs of a model and logits, in which the model is linearized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg.training._outputs import compiled_loss, loss_setting

_SOFTMAX = {
    keras.losses.SparseCategoricalCrossentropy: keras.losses.sparse_categorical_crossentropy,
    keras.losses.CategoricalCrossentropy: keras.losses.categorical_crossentropy,
}
_SIGMOID = {keras.losses.BinaryCrossentropy: keras.losses.binary_crossentropy}

Map = Callable[[Any], Any]


def output_distribution(model: keras.Model, output: str | None = None) -> tuple[str | None, bool]:
    """Returns the output distribution that the compiled loss implies.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` if the model has only one.

    Returns:
        A pair: `"softmax"`, `"sigmoid"`, or `None` for a loss that is not a cross-entropy; and whether the output
        consists of logits.
    """
    loss = compiled_loss(model, output)
    for name, classes in (("softmax", _SOFTMAX), ("sigmoid", _SIGMOID)):
        if isinstance(loss, tuple(classes)) or loss in classes.values():
            return name, bool(loss_setting(loss, "from_logits", False))
    return None, False


def logit_map(model: keras.Model, output: str | None = None) -> tuple[Map, Map]:
    """Returns the functions from an output to logits and back.

    For probabilities, the first function is the logarithm, or the logit of a sigmoid. Logarithms of probabilities
    differ from the logits of the softmax by one constant for each sample, which the softmax removes again. For other
    outputs, both functions are the identity.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` if the model has only one.
    """
    name, from_logits = output_distribution(model, output)
    if name is None or from_logits:
        return _identity, _identity
    return (_log, ops.softmax) if name == "softmax" else (_logit, ops.sigmoid)


def _identity(x: Any) -> Any:
    return x


def _log(x: Any) -> Any:
    # Keras's own losses clip at the same value.
    return ops.log(ops.maximum(x, keras.config.epsilon()))


def _logit(x: Any) -> Any:
    x = ops.clip(x, keras.config.epsilon(), 1 - keras.config.epsilon())
    return ops.log(x) - ops.log(1 - x)
