"""The space in which a model's outputs are linearized: that of logits, whatever the model gives."""

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
    """What distribution an output says, by its compiled loss, and whether it gives logits.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` where the model has only one.

    Returns:
        `"softmax"`, `"sigmoid"` or `None` for a loss that is no cross-entropy; and whether of logits.
    """
    loss = compiled_loss(model, output)
    for name, classes in (("softmax", _SOFTMAX), ("sigmoid", _SIGMOID)):
        if isinstance(loss, tuple(classes)) or loss in classes.values():
            return name, bool(loss_setting(loss, "from_logits", False))
    return None, False


def logit_map(model: keras.Model, output: str | None = None) -> tuple[Map, Map]:
    """Functions from an output to its linear space and back: logarithms of probabilities, or the output itself.

    Logarithms of probabilities differ from the logits that a softmax made them of by a number for each sample, which
    the softmax takes out again.

    Args:
        model: A compiled model.
        output: The name of the output, or `None` where the model has only one.
    """
    name, from_logits = output_distribution(model, output)
    if name is None or from_logits:
        return _itself, _itself
    return (_log, ops.softmax) if name == "softmax" else (_logit, ops.sigmoid)


def _itself(x: Any) -> Any:
    return x


def _log(x: Any) -> Any:
    return ops.log(ops.maximum(x, keras.config.epsilon()))  # as far as Keras's own losses go


def _logit(x: Any) -> Any:
    x = ops.clip(x, keras.config.epsilon(), 1 - keras.config.epsilon())
    return ops.log(x) - ops.log(1 - x)
