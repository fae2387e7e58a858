"""Wraps layers of a model that exists already, and folds them back."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from keras_reg._keras.computed_weights import variables_without_regularizers
from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._hyper import HyperLayer
from keras_reg.layers._kernels import SUPPORTED, leaves
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.layers.hyper_lstm import HyperLSTM
from keras_reg.surgery._cloning import check_clonable, clone, copy_layer_values, copy_values, exchange, plain_copy
from keras_reg.surgery._select import LayerPatterns, check_patterns, iter_sublayers, select

FOLDED = (ReparameterizedLayer, HyperLayer, HyperLSTM)


def reparameterize(
    model: keras.Model,
    layer_class: type[ReparameterizedLayer],
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    keep_weights: bool = True,
    **arguments: Any,
) -> keras.Model:
    """Returns an equal model in which layers are reparameterized.

    The given model stays as it is, and shares nothing with the new one. The wrapped layers have the names of the given
    ones. `fold` leads back.

    Args:
        model: A Sequential or Functional model, nested or not, trained or not.
        layer_class: `keras_reg.layers.WeightCompander`, `WeightNormalization`, `SigmaReparam`, or your own
            `ReparameterizedLayer`.
        include: Which layers: a pattern of names such as `"block*_conv*"` or of paths such as `"encoder/*"`, a layer
            class, a function of the layer, or a list of these. A name or class that matches a nested model means all
            layers in it. `None` means every layer that can be wrapped.
        exclude: The same for layers to leave as they are.
        keep_weights: Whether the new model computes what the given one does. `False` draws new weights, by the
            initializers of the layers; then `WeightNormalization` is initialized from data.
        **arguments: Arguments of the layer class, such as `a=0.7`.

    Returns:
        The model, compiled as the given one, with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built, or the layer class refuses an argument or a weight.

    Example:

    ```python
    companded = keras_reg.reparameterize(model, keras_reg.layers.WeightCompander, a=0.7, b=0.8)
    companded.fit(x, y)
    plain = keras_reg.fold(companded)
    ```
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, ReparameterizedLayer)):
        raise ValueError(
            "`layer_class` must be a layer class such as keras_reg.layers.WeightCompander. "
            f"Received: layer_class={layer_class!r}"
        )
    check_clonable(model, f"Wrap its layers where it makes them: `{layer_class.__name__}(layer)`.")
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    wrapped: list[tuple[keras.Layer, ReparameterizedLayer]] = []
    inside = {id(layer): around for layer, around in iter_sublayers(model)}

    def make(layer: keras.Layer) -> keras.Layer:
        copy = plain_copy(layer)
        if leaves(layer) and select(layer, include, exclude, inside[id(layer)]):
            wrapper = layer_class(copy, **arguments)
            wrapper.is_loading = keep_weights
            wrapped.append((layer, wrapper))
            copy = wrapper
        else:
            pairs.append((layer, copy))
        return copy

    new = clone(model, make)
    if not wrapped:
        warnings.warn(
            f"reparameterize has wrapped nothing in {model.name!r}: no layer matches include={include!r} and "
            f"exclude={exclude!r}, of those that can be wrapped, which are {SUPPORTED}.",
            NoEffectWarning,
            stacklevel=2,
        )
    for old, copy in pairs:
        if keep_weights:
            copy_layer_values(old, copy)
    for old, wrapper in wrapped:
        wrapper.is_loading = False
        if keep_weights:
            copy_values(variables_without_regularizers(old), variables_without_regularizers(wrapper.layer))
            for kernel in wrapper.kernels:
                wrapper.set_effective(kernel, ops.convert_to_tensor(ops.convert_to_numpy(kernel.variable)))
    return new


def fold(model: keras.Model) -> keras.Model:
    """Returns the plain model of a reparameterized one: with the effective kernels in ordinary layers.

    For inference, export, quantization and conversion: it computes the same, at no extra cost. LoRA is merged into the
    kernels. Layers that respond to hyperparameters, such as `layers.HyperDense`, get the weights for the present
    values. The given model stays as it is, and shares nothing with the new one.

    Args:
        model: A Sequential or Functional model, nested or not. For a subclassed model, see `ReparameterizedLayer.fold`.

    Returns:
        The model, compiled as the given one, with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built.

    Example:

    ```python
    companded = keras_reg.reparameterize(model, keras_reg.layers.WeightCompander)
    keras_reg.fold(companded).save("plain.keras")  # loads without keras_reg
    ```
    """
    check_clonable(model, "Fold its layers one by one: `layer.fold()`.")
    new, changed = exchange(model, lambda layer: layer.fold() if isinstance(layer, FOLDED) else None)
    if not changed:
        warnings.warn(
            f"fold has changed nothing: {model.name!r} has no reparameterized layer, and none that responds to "
            "hyperparameters. The model that is returned is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return new
