"""Selects layers and variables of a model by name, by class, or by a function."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import keras

from keras_reg._keras.sublayers import iter_sublayers, own_weights
from keras_reg._validation import reject

LayerPattern = str | type[Any] | Callable[[keras.Layer], bool]
LayerPatterns = LayerPattern | Iterable[LayerPattern] | None
VariablePatterns = str | Iterable[str] | Callable[[keras.Variable], bool]


def select(
    layer: keras.Layer,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    parents: tuple[keras.Layer, ...] = (),
) -> bool:
    """Returns True if a layer matches `include` and does not match `exclude`.

    A string is a shell-style pattern for the layer's name, or for its path below the model, such as
    `"encoder/dense_*"`. A name or class that matches a nested model or a block selects every layer in it. A function is
    called with the layer only.

    Args:
        layer: The layer.
        include: A name pattern, a layer class, a function of the layer, or a list of these. Defaults to `None`, which
            means every layer.
        exclude: Layers to leave out, in the same form. Defaults to `None`, which means none.
        parents: The layers around the layer, from the outside in, without the model.

    Raises:
        ValueError: If a pattern is neither a string, nor a class, nor a function.
    """
    chain = (*parents, layer)
    included, excluded = check_patterns("include", include), check_patterns("exclude", exclude)
    selected = include is None or any(_matches(pattern, chain) for pattern in included)
    return selected and not any(_matches(pattern, chain) for pattern in excluded)


def _matches(pattern: LayerPattern, chain: tuple[keras.Layer, ...]) -> bool:
    if isinstance(pattern, str):
        names = [layer.name for layer in chain]
        return any(fnmatch.fnmatchcase(name, pattern) for name in [*names, "/".join(names)])
    if isinstance(pattern, type):
        return any(isinstance(layer, pattern) for layer in chain)
    return bool(pattern(chain[-1]))


def check_patterns(name: str, patterns: LayerPatterns) -> list[LayerPattern]:
    """Checks the patterns, and returns them as a list, which is empty for `None`.

    Args:
        name: The name of the argument, for the message.
        patterns: The user's argument: one pattern, several, or `None`.

    Raises:
        ValueError: If a pattern is neither a string, nor a class, nor a function.
    """
    if patterns is None:
        return []
    several = isinstance(patterns, Iterable) and not isinstance(patterns, (str, type))
    listed: list[Any] = list(cast("Iterable[Any]", patterns)) if several else [patterns]
    for pattern in listed:
        # A layer is callable and would count as a function, but the user probably meant the layer's name.
        if isinstance(pattern, keras.Layer) or not (isinstance(pattern, str) or callable(pattern)):
            reject(
                name,
                patterns,
                "must be a pattern of layer names such as 'dense_*', a layer class, a function of a layer, or a list "
                "of these",
            )
    return listed


def select_variable(variable: keras.Variable, variables: VariablePatterns) -> bool:
    """Returns True if a variable matches the patterns.

    Args:
        variable: The variable.
        variables: A shell-style pattern of variable names such as `"kernel"`, a list of patterns, or a function of the
            variable.

    Raises:
        ValueError: If `variables` is none of these.
    """
    checked = check_variables(variables)
    if callable(checked):
        return bool(checked(variable))
    return any(fnmatch.fnmatchcase(variable.name, pattern) for pattern in checked)


def check_variables(variables: VariablePatterns) -> list[str] | Callable[[keras.Variable], bool]:
    """Checks the argument `variables`, and returns a list of patterns or the function.

    Args:
        variables: The user's argument.

    Raises:
        ValueError: If it is neither names nor a function.
    """
    if callable(variables):
        return variables
    patterns = [variables] if isinstance(variables, str) else variables
    if not isinstance(patterns, Iterable) or not all(isinstance(pattern, str) for pattern in patterns):
        reject(
            "variables",
            variables,
            "must be the name of a variable such as 'kernel', 'bias' or 'gamma', a pattern such as '*kernel', a list "
            "of these, or a function of a variable",
        )
    return list(patterns)


def iter_variables(
    model: keras.Model, include: LayerPatterns, exclude: LayerPatterns, variables: VariablePatterns
) -> Iterator[tuple[keras.Layer, keras.Variable]]:
    """Yields the selected variables, each once, with the layer that created it. The model's own weights count too."""
    seen = set()
    for layer, parents in [(model, ()), *iter_sublayers(model)]:
        # Variables come first, so that a function in `include` is called only with layers that have some.
        selected = [variable for variable in own_weights(layer) if select_variable(variable, variables)]
        if selected and select(layer, include, exclude, parents):
            for variable in selected:
                if id(variable) not in seen:
                    seen.add(id(variable))
                    yield layer, variable
