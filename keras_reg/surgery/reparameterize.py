"""Wraps layers of an existing model, and folds them back."""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from keras_reg._keras.computed_weights import variables_without_regularizers
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._validation import check_boolean, reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._hyper import HyperLayer
from keras_reg.layers._kernels import SUPPORTED, find_leaf_layers
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.layers.hyper_lstm import HyperLSTM
from keras_reg.surgery._cloning import check_clonable, clone, copy_layer_values, copy_values, exchange, plain_copy
from keras_reg.surgery._select import LayerPatterns, check_patterns, select

FOLDED = (ReparameterizedLayer, HyperLayer, HyperLSTM)


def reparameterize(
    model: keras.Model,
    layer_class: type[ReparameterizedLayer],
    *,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    keep_weights: bool = True,
    **arguments: Any,
) -> keras.Model:
    """Returns an equivalent model with reparameterized layers.

    The original model is not changed and shares no variables with the new one. Wrappers have the names of the layers
    that they wrap. `keras_reg.fold` is the inverse.

    Args:
        model: A Sequential or Functional `keras.Model`, nested or not, trained or not.
        layer_class: A subclass of `keras_reg.layers.ReparameterizedLayer`, such as `keras_reg.layers.WeightCompander`,
            `WeightNormalization` or `SigmaReparam`.
        include: String, class, Callable or a list of these. The layers to wrap: a pattern of names such as
            `"block*_conv*"` or of paths such as `"encoder/*"`, a layer class, or a function of the layer. A name or
            class that matches a nested model selects all layers in it. Defaults to `None`, which means every layer
            that can be wrapped.
        exclude: Layers to leave out, in the same form. Defaults to `None`, which means none.
        keep_weights: Boolean. Whether the new model computes the same outputs as the original model. `False` draws new
            weights with the initializers of the layers. `WeightNormalization` is then initialized from data. Defaults
            to `True`.
        **arguments: Arguments of the layer class, such as `a=0.7`.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built, an argument is invalid, or the layer class rejects an
            argument or a weight.

    Example:

    ```python
    companded = keras_reg.reparameterize(
        model, keras_reg.layers.WeightCompander, a=0.7, b=0.8
    )
    companded.fit(x, y)
    plain = keras_reg.fold(companded)
    ```
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, ReparameterizedLayer)):
        reject("layer_class", layer_class, "must be a layer class such as `keras_reg.layers.WeightCompander`")
    check_clonable(model, f"Wrap its layers in its code: `{layer_class.__name__}(layer)`.")
    keep_weights = check_boolean("keep_weights", keep_weights)
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    wrapped: list[tuple[keras.Layer, ReparameterizedLayer]] = []
    parents_of = {id(layer): parents for layer, parents in iter_sublayers(model)}

    def make(layer: keras.Layer) -> keras.Layer:
        copy = plain_copy(layer)
        if find_leaf_layers(layer) and select(layer, include, exclude, parents_of[id(layer)]):
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
            f"reparameterize has wrapped nothing in {model.name!r}: no layer that can be wrapped matches "
            f"include={include!r} and exclude={exclude!r}. It wraps {SUPPORTED}.",
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
    """Returns an equivalent model of ordinary Keras layers, with the effective kernels of a reparameterized model.

    Fold a model before inference, export, quantization and conversion. The folded model computes the same outputs
    without the extra cost. LoRA weights are merged into the kernels. Layers that respond to hyperparameters, such as
    `keras_reg.layers.HyperDense`, are folded with the weights for the current values. The original model is not changed
    and shares no variables with the new one.

    Args:
        model: A Sequential or Functional `keras.Model`, nested or not. For a subclassed model, call
            `ReparameterizedLayer.fold` on its layers.

    Returns:
        The model. If the original model is compiled, the new model is compiled with a new optimizer.

    Raises:
        ValueError: If the model is subclassed or not built.

    Example:

    ```python
    companded = keras_reg.reparameterize(
        model, keras_reg.layers.WeightCompander
    )
    keras_reg.fold(companded).save("plain.keras")  # loads without keras_reg
    ```
    """
    check_clonable(model, "Fold its layers one by one with `layer.fold()`.")
    new, changed = exchange(model, lambda layer: layer.fold() if isinstance(layer, FOLDED) else None)
    if not changed:
        warnings.warn(
            f"fold has changed nothing: {model.name!r} has no reparameterized layer and no layer that responds to "
            "hyperparameters. The returned model is a copy.",
            NoEffectWarning,
            stacklevel=2,
        )
    return new
