"""Removes noise layers from a model."""

from __future__ import annotations

import warnings

import keras

from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.surgery._cloning import check_clonable, exchange


def strip(model: keras.Model) -> keras.Model:
    """Returns a copy of a model without its noise layers.

    Noise layers are `keras_reg.layers.BetaNoise` and `keras_reg.layers.PolicyNoiseMask`, which is removed together with
    its policy. The new model makes the same predictions and trains without noise. A `keras.layers.Identity` with the
    same name replaces each noise layer. The original model is not changed and shares no variables with the new one.

    Args:
        model: A Sequential or Functional `keras.Model`, nested or not.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built.

    Example:

    ```python
    noisy = keras.Sequential([
        keras.Input((6,)),
        keras_reg.layers.BetaNoise(),
        keras.layers.Dense(10),
    ])
    plain = keras_reg.surgery.strip(noisy)
    ```
    """
    check_clonable(model, "Remove the noise layers from its code.")

    def replace(layer: keras.Layer) -> keras.Layer | None:
        noisy = isinstance(layer, NoiseLayer)
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy) if noisy else None

    new, changed = exchange(model, replace)
    if not changed:
        warnings.warn(
            f"strip has changed nothing: {model.name!r} has no noise layer. The returned model is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return new
