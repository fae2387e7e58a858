"""Regularizes variables of an existing model."""

from __future__ import annotations

import warnings
from typing import Any

import keras

from keras_reg._keras.function_regularizer import as_regularizer
from keras_reg._keras.replicas import scope
from keras_reg._keras.step_functions import rebuild_step_functions
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._validation import reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.layers._reparameterized import ReparameterizedLayer
from keras_reg.surgery import _anchors
from keras_reg.surgery._select import LayerPatterns, VariablePatterns, check_patterns, check_variables, iter_variables


def apply_regularizer(
    model: keras.Model,
    regularizer: Any,
    *,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    variables: VariablePatterns = "kernel",
) -> list[keras.Variable]:
    """Regularizes variables of a built model, which may be pretrained or trained.

    The next training step has the penalty in its loss and gradient, before the first `fit` and after it. This works in
    Sequential, Functional, nested and subclassed models. It replaces the current regularizer of a variable.

    A regularizer may have methods that adapt it:

    - `for_layer(layer)` returns the regularizer for a layer, or `None` for no regularizer. For example,
      `keras_reg.regularizers.OrthogonalConvolution` depends on the stride of the layer.
    - `for_variable(variable)` returns the regularizer for a variable. For example,
      `keras_reg.regularizers.AnchoredL2` depends on the current value of the variable.

    In a `keras_reg.layers.WeightCompander`, the argument `decay_on` of the layer determines whether the penalty applies
    to the weight or to the parameter.

    `model.save` and `model.get_config` keep the regularizer if it is serializable and the layer has an argument for it,
    such as `kernel_regularizer` or `gamma_regularizer`. This holds for Keras's layers in Sequential and Functional
    models, including nested ones. They do not keep the regularizer in these cases:

    - in layers without such an argument
    - in layers that another layer creates, such as the projections in `MultiHeadAttention`
    - in subclassed models that create their layers in code

    In these cases, apply the regularizer again after loading. Weights files (`save_weights`) contain only the anchors
    of regularizers.

    Args:
        model: A `keras.Model`. It must be built.
        regularizer: A `keras.regularizers.Regularizer`, an identifier such as `"l2"`, or a function of a variable.
        include: String, class, Callable or a list of these. The layers to select: a pattern of names such as
            `"conv*"` or of paths such as `"encoder/*"`, a layer class, or a function of the layer. A name or class that
            matches a nested model or a block selects all layers in it. Defaults to `None`, which means all.
        exclude: Layers to leave out, in the same form. Defaults to `None`, which means none.
        variables: String, list of strings, or Callable. The variables to select in these layers: a name such as
            `"kernel"`, `"bias"` or `"gamma"`, a pattern such as `"*kernel"`, a list of these, or a function of the
            variable. Defaults to `"kernel"`.

    Returns:
        A list of the variables that now have the regularizer, each once.

    Raises:
        ValueError: If an argument is invalid, or the model is not built.

    Example:

    ```python
    kernels = keras_reg.apply_regularizer(
        model, keras.regularizers.L2(1e-4), include=keras.layers.Dense
    )
    print([variable.path for variable in kernels])
    ```
    """
    _check(model, include, exclude, variables)
    regularizer = _check_regularizer(regularizer)
    chosen = []
    for layer, variable in iter_variables(model, include, exclude, variables):
        specific = regularizer.for_layer(layer) if hasattr(regularizer, "for_layer") else regularizer
        if hasattr(specific, "for_variable"):
            with scope(model):
                specific = specific.for_variable(variable)
        if specific is not None:
            chosen.append((layer, variable, as_regularizer(specific)))
    _anchors.check_plain_kernels(model, {id(variable): specific for _, variable, specific in chosen})
    for layer, variable, specific in chosen:
        _set(layer, variable, _anchors.reuse(model, variable, specific))
    _adapt_to_reparameterization(model, {id(variable) for _, variable, _ in chosen})
    changed = [variable for _, variable, _ in chosen]
    if not changed:
        _warn("No variable matched, so no variable is regularized", include, exclude, variables)
    elif not any(variable.trainable for variable in changed):
        message = "All variables that matched are frozen, and Keras regularizes only trainable variables"
        _warn(message, include, exclude, variables)
    if changed:
        _anchors.track(model)
        rebuild_step_functions(model)
    return changed


def remove_regularizers(
    model: keras.Model,
    *,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    variables: VariablePatterns = "*",
) -> list[keras.Variable]:
    """Removes the regularizers of variables, including those that were arguments of layers.

    The next training step does not have the penalties. Activity regularizers do not belong to variables and remain.

    Args:
        model: A `keras.Model`. It must be built.
        include: The layers to select, as in `apply_regularizer`. Defaults to `None`, which means all.
        exclude: The layers to leave out. Defaults to `None`, which means none.
        variables: The variables to select in these layers, as in `apply_regularizer`. Defaults to `"*"`, which means
            all.

    Returns:
        A list of the variables whose regularizer was removed.

    Raises:
        ValueError: If an argument is invalid, or the model is not built.

    Example:

    ```python
    keras_reg.apply_regularizer(model, "l2")
    keras_reg.remove_regularizers(model)
    assert not model.losses
    ```
    """
    _check(model, include, exclude, variables)
    chosen = [pair for pair in iter_variables(model, include, exclude, variables) if pair[1].regularizer is not None]
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
        reject("model", model, "must be a `keras.Model`")
    if not model.built:
        raise ValueError(
            "The model has no variables yet. To build it first, call `model.build(input_shape)`, or call the model on "
            f"a batch. Received: model={model!r}"
        )
    check_patterns("include", include)
    check_patterns("exclude", exclude)
    check_variables(variables)


def _check_regularizer(regularizer: Any) -> Any:
    if isinstance(regularizer, str):
        try:
            return keras.regularizers.get(regularizer)
        except ValueError:
            # The message below is more helpful than Keras's.
            pass
    if not callable(regularizer) or isinstance(regularizer, type):
        reject(
            "regularizer",
            regularizer,
            "must be an instance of `keras.regularizers.Regularizer`, an identifier of a Keras regularizer, or a "
            "function of a variable. To remove regularizers, call `keras_reg.remove_regularizers`",
        )
    return regularizer


def _set(layer: keras.Layer, variable: keras.Variable, regularizer: Any) -> None:
    """Sets the regularizer of a variable, and the argument of the layer so that its `get_config` contains it."""
    variable.regularizer = regularizer
    # `SeparableConv` has a `pointwise_regularizer` for its `pointwise_kernel`. `DepthwiseConv` has a
    # `depthwise_regularizer` for its `kernel`.
    prefixes = [variable.name, variable.name.removesuffix("_kernel")] + ["depthwise"] * (variable.name == "kernel")
    for attribute in (f"{prefix}_regularizer" for prefix in prefixes):
        if hasattr(layer, attribute):
            _anchors.place(layer, attribute, regularizer)
            return


def _adapt_to_reparameterization(model: keras.Model, chosen: set[int]) -> None:
    """Makes reparameterized layers adapt the regularizers of their variables, as they do when they are built."""
    seen = set()
    for layer, _ in iter_sublayers(model):
        # A shared layer occurs twice. The second time, its regularizer would be adapted again.
        if isinstance(layer, ReparameterizedLayer) and id(layer) not in seen:
            seen.add(id(layer))
            for kernel in layer.kernels:
                if id(kernel.variable) in chosen:
                    own = layer.regularizer(kernel, kernel.variable.regularizer)
                    kernel.variable.regularizer = as_regularizer(own)


def _warn(message: str, include: LayerPatterns, exclude: LayerPatterns, variables: VariablePatterns) -> None:
    warnings.warn(
        f"{message}. Received: include={include!r}, exclude={exclude!r}, variables={variables!r}",
        NoEffectWarning,
        stacklevel=3,
    )
