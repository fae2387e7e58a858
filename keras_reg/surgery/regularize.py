"""A regularizer for the variables of a model that already exists."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_reg._keras.replicas import scope
from keras_reg._keras.step_functions import rebuild_step_functions as rebuild_step_functions
from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.surgery import _anchors
from keras_reg.surgery._select import (
    LayerPatterns,
    VariablePatterns,
    check_patterns,
    check_variables,
    iter_sublayers,
    matching,
)


def apply_regularizer(
    model: keras.Model,
    regularizer: Any,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    variables: VariablePatterns = "kernel",
) -> list[keras.Variable]:
    """Regularizes variables of a model that is already built, pretrained or trained.

    It is effective at once, before the first `fit` and after it, in Sequential, Functional, nested and subclassed
    models: the next training step has the term in its loss and gradient. A regularizer that a variable already has is
    replaced. A regularizer that depends on the layer, as `keras_reg.regularizers.OrthogonalConvolution` does on the
    stride, has a method `for_layer(layer)`; what that returns is used for this layer, and nothing if it returns `None`.
    One that depends on the variable, as `keras_reg.regularizers.AnchoredL2` does on its present value, has a method
    `for_variable(variable)`.
    In a `keras_reg.layers.WeightCompander` it acts on the weight or on the parameter, as its `decay_on` says.

    `model.save` and `model.get_config` keep the regularizer where the layer has an argument for it, such as
    `kernel_regularizer` or `gamma_regularizer`, and describes itself: the layers of Keras in Sequential and Functional
    models, nested ones too. They do not keep it in parts that another layer makes anew, such as the projections in
    `MultiHeadAttention`, in layers without such an argument, and in subclassed models that build their layers in code:
    apply it again after loading. Weights alone (`save_weights`) never hold it, but for its anchors.

    Args:
        model: A built model.
        regularizer: A `keras.regularizers.Regularizer`, its name such as `"l2"`, or a function of a variable.
        include: Which layers: a pattern of layer names such as `"conv*"` or of paths such as `"encoder/*"`, a layer
            class, a function of the layer, or a list of these. A name or class that matches a nested model or a block
            means all layers in it. `None` means all.
        exclude: The same for layers to leave alone.
        variables: Which variables of these layers: `"kernel"`, `"bias"`, `"gamma"`, a pattern of names such as
            `"*kernel"`, a list of these, or a function of the variable.

    Returns:
        The variables that now have the regularizer, each once.

    Raises:
        ValueError: If an argument is of the wrong kind, or the model is not built.

    Example:

    ```python
    touched = keras_reg.apply_regularizer(model, keras.regularizers.L2(1e-4), include=keras.layers.Dense)
    print([variable.path for variable in touched])
    ```
    """
    _check(model, include, exclude, variables)
    regularizer = _check_regularizer(regularizer)
    chosen = []
    for layer, variable in matching(model, include, exclude, variables):
        specific = regularizer.for_layer(layer) if hasattr(regularizer, "for_layer") else regularizer
        if hasattr(specific, "for_variable"):
            with scope(model):
                specific = specific.for_variable(variable)
        if specific is not None:
            chosen.append((layer, variable, specific))
    _anchors.check_plain_kernels(model, {id(variable): specific for _, variable, specific in chosen})
    for layer, variable, specific in chosen:
        _set(layer, variable, _anchors.reuse(model, variable, specific))
    _adapt_to_reparameterization(model, {id(variable) for _, variable, _ in chosen})
    touched = [variable for _, variable, _ in chosen]
    if not touched:
        _warn("No variable matched, so no variable is regularized", include, exclude, variables)
    elif not any(variable.trainable for variable in touched):
        _warn("All variables that matched are frozen: Keras regularizes trainable ones", include, exclude, variables)
    if touched:
        _anchors.track(model)
        rebuild_step_functions(model)
    return touched


def remove_regularizers(
    model: keras.Model,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    variables: VariablePatterns = "*",
) -> list[keras.Variable]:
    """Takes the regularizers of variables away, whoever gave them; effective at once.

    Activity regularizers are no regularizers of variables: they stay.

    Args:
        model: A built model.
        include: Which layers, as in `apply_regularizer`; `None` means all.
        exclude: Layers to leave alone.
        variables: Which variables of these layers, as in `apply_regularizer`; by default all.

    Returns:
        The variables that had a regularizer and have none now.

    Raises:
        ValueError: If an argument is of the wrong kind, or the model is not built.

    Example:

    ```python
    keras_reg.apply_regularizer(model, "l2")
    keras_reg.remove_regularizers(model)
    assert not model.losses
    ```
    """
    _check(model, include, exclude, variables)
    chosen = [pair for pair in matching(model, include, exclude, variables) if pair[1].regularizer is not None]
    for layer, variable in chosen:
        _set(layer, variable, None)
    if chosen:
        _anchors.track(model)
        rebuild_step_functions(model)
    else:
        _warn("No variable that matched has a regularizer", include, exclude, variables)
    return [variable for _, variable in chosen]


def _check(model: Any, include: LayerPatterns, exclude: LayerPatterns, variables: VariablePatterns) -> None:
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: model={model!r}")
    if not model.built:
        raise ValueError(
            "The model has no variables yet: build it first, with `model.build(input_shape)` or by calling it on a "
            f"batch. Received: model={model!r}"
        )
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    check_variables(variables)


def _check_regularizer(regularizer: Any) -> Any:
    if isinstance(regularizer, str):
        try:
            return keras.regularizers.get(regularizer)
        except ValueError:
            pass  # the message below says more
    if not callable(regularizer) or isinstance(regularizer, type):
        raise ValueError(
            "`regularizer` must be an instance of `keras.regularizers.Regularizer`, the name of one of Keras, or a "
            "function of a variable; `keras_reg.remove_regularizers` takes regularizers away. "
            f"Received: regularizer={regularizer!r}"
        )
    return regularizer


def _set(layer: keras.Layer, variable: keras.Variable, regularizer: Any) -> None:
    """Gives the variable its regularizer, and the layer too, so that its `get_config` knows."""
    variable.regularizer = regularizer
    # `SeparableConv` has a `pointwise_regularizer` for its `pointwise_kernel`, `DepthwiseConv` a
    # `depthwise_regularizer` for its `kernel`.
    prefixes = [variable.name, variable.name.removesuffix("_kernel")] + ["depthwise"] * (variable.name == "kernel")
    for attribute in (f"{prefix}_regularizer" for prefix in prefixes):
        if hasattr(layer, attribute):
            _anchors.place(layer, attribute, regularizer)
            return


def _adapt_to_reparameterization(model: keras.Model, chosen: set[int]) -> None:
    """Lets layers whose kernels are computed from the variables say what it acts on, as when they are built."""
    done = set()
    for layer, _ in iter_sublayers(model):
        if isinstance(layer, ReparameterizedLayer) and id(layer) not in done:
            done.add(id(layer))  # a shared layer comes twice, and would be asked about its own answer
            for kernel in layer.kernels:
                if id(kernel.variable) in chosen:
                    kernel.variable.regularizer = layer.regularizer(kernel, kernel.variable.regularizer)


def _warn(what: str, include: LayerPatterns, exclude: LayerPatterns, variables: VariablePatterns) -> None:
    warnings.warn(
        f"{what}. Received: include={include!r}, exclude={exclude!r}, variables={variables!r}",
        NoEffectWarning,
        stacklevel=3,
    )
