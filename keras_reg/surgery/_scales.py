"""The scales of batch normalizations, which show how much a channel contributes."""

from __future__ import annotations

import keras

from keras_reg._keras.sublayers import iter_sublayers
from keras_reg.surgery._select import LayerPatterns, select


def find_scaled_normalizations(
    model: keras.Model, include: LayerPatterns = None, exclude: LayerPatterns = None
) -> list[keras.layers.BatchNormalization]:
    """Returns the batch normalizations of a model that train a scale, each once.

    Args:
        model: A built model.
        include: The layers to select, as in `keras_reg.apply_regularizer`. Defaults to `None`, which means all.
        exclude: The layers to leave out.

    Returns:
        The layers. Their scale is `layer.gamma`.
    """
    layers = {
        id(layer): layer
        for layer, parents in iter_sublayers(model)
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.built
        and layer.scale
        and layer.gamma.trainable
        and select(layer, include, exclude, parents)
    }
    return list(layers.values())
