"""The scales of a model's batch normalizations, which say how much a channel matters."""

from __future__ import annotations

import keras

from keras_reg.surgery._select import LayerPatterns, iter_sublayers, select


def scaled_normalizations(
    model: keras.Model, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> list[keras.layers.BatchNormalization]:
    """The batch normalizations of a model that train a scale, each once.

    Args:
        model: A built model.
        include: Which of them, as in `keras_reg.apply_regularizer`; `None` means all.
        exclude: Those to leave out.

    Returns:
        The layers. Their scale is `layer.gamma`.
    """
    found = {
        id(layer): layer
        for layer, inside in iter_sublayers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.built
        and layer.scale
        and layer.gamma.trainable
        and select(layer, include, exclude, inside)
    }
    return list(found.values())
