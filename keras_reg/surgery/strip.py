"""Takes noise layers out of a model."""

from __future__ import annotations

import warnings

import keras

from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._noise_layer import NoiseLayer
from keras_reg.surgery._cloning import check_clonable, exchange


def strip(model: keras.Model) -> keras.Model:
    """Returns the model without its noise layers: `layers.BetaNoise`, `layers.PolicyNoiseMask` and its policy.

    It predicts the same, and trains without noise. Where a noise layer was, there is a `keras.layers.Identity` of its
    name. The given model stays as it is, and shares nothing with the new one.

    Args:
        model: A Sequential or Functional model, nested or not.

    Returns:
        The model, compiled as the given one, with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built.

    Example:

    ```python
    noisy = keras.Sequential([keras.Input((6,)), keras_reg.layers.BetaNoise(), keras.layers.Dense(10)])
    plain = keras_reg.surgery.strip(noisy)
    ```
    """
    check_clonable(model, "Leave the noise layers out of its code.")

    def identity(layer: keras.Layer) -> keras.Layer | None:
        noisy = isinstance(layer, NoiseLayer)
        return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy) if noisy else None

    new, changed = exchange(model, identity)
    if not changed:
        warnings.warn(
            f"strip has changed nothing: {model.name!r} has no noise layer. The model that is returned is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return new
