"""Which layers and which variables of a model are meant: by name, by class, or by a function."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import keras

from keras_reg._keras.sublayers import iter_sublayers as iter_sublayers
from keras_reg._keras.sublayers import own_weights as own_weights
from keras_reg._keras.sublayers import sublayers as sublayers

LayerPattern = str | type[Any] | Callable[[keras.Layer], bool]
LayerPatterns = LayerPattern | Iterable[LayerPattern] | None
VariablePatterns = str | Iterable[str] | Callable[[keras.Variable], bool]


def select(
    layer: keras.Layer,
    include: LayerPatterns = None,
    exclude: LayerPatterns = None,
    inside: tuple[keras.Layer, ...] = (),
) -> bool:
    """Whether a layer is meant by `include` and not by `exclude`.

    A string is a shell-style pattern for the layer's name, or for its path below the model, such as
    `"encoder/dense_*"`. Names and classes that match a nested model or a block mean every layer in it. A function is
    asked about the layer itself only.

    Args:
        layer: The layer.
        include: A name pattern, a layer class, a function of the layer, or a list of them; `None` means every layer.
        exclude: The same for layers that are not meant; `None` means none.
        inside: The layers that the layer is a part of, from the outside in, without the model itself.

    Returns:
        Whether the layer is meant.

    Raises:
        ValueError: If a pattern is neither a string, nor a class, nor a function.
    """
    chain = (*inside, layer)
    wanted, unwanted = check_patterns("include", include), check_patterns("exclude", exclude)
    included = include is None or any(_matches(pattern, chain) for pattern in wanted)
    return included and not any(_matches(pattern, chain) for pattern in unwanted)


def _matches(pattern: LayerPattern, chain: tuple[keras.Layer, ...]) -> bool:
    if isinstance(pattern, str):
        names = [layer.name for layer in chain]
        return any(fnmatch.fnmatchcase(name, pattern) for name in [*names, "/".join(names)])
    if isinstance(pattern, type):
        return any(isinstance(layer, pattern) for layer in chain)
    return bool(pattern(chain[-1]))


def check_patterns(name: str, patterns: LayerPatterns) -> list[LayerPattern]:
    """Returns the patterns as a list.

    Args:
        name: The name of the argument, for the message.
        patterns: What the user gave: one pattern, several or `None`.

    Returns:
        The patterns, none for `None`.

    Raises:
        ValueError: If one of them is neither a string, nor a class, nor a function.
    """
    if patterns is None:
        return []
    several = isinstance(patterns, Iterable) and not isinstance(patterns, (str, type))
    listed: list[Any] = list(cast("Iterable[Any]", patterns)) if several else [patterns]
    for pattern in listed:
        # A layer can be called, so that it would pass for a function; its name was probably meant.
        if isinstance(pattern, keras.Layer) or not (isinstance(pattern, str) or callable(pattern)):
            raise ValueError(
                f"`{name}` must be a pattern of layer names such as 'dense_*', a layer class, a function of a layer, "
                f"or a list of these. Received: {name}={patterns!r}"
            )
    return listed


def select_variable(variable: keras.Variable, variables: VariablePatterns) -> bool:
    """Whether a variable is meant.

    Args:
        variable: The variable.
        variables: A shell-style pattern of variable names such as `"kernel"`, a list of them, or a function of the
            variable.

    Returns:
        Whether the variable is meant.

    Raises:
        ValueError: If `variables` is neither.
    """
    checked = check_variables(variables)
    if callable(checked):
        return bool(checked(variable))
    return any(fnmatch.fnmatchcase(variable.name, pattern) for pattern in checked)


def check_variables(variables: VariablePatterns) -> list[str] | Callable[[keras.Variable], bool]:
    """Returns the patterns of variable names as a list, or the function.

    Args:
        variables: What the user gave.

    Returns:
        The patterns, or the function.

    Raises:
        ValueError: If it is neither.
    """
    if callable(variables):
        return variables
    patterns = [variables] if isinstance(variables, str) else variables
    if not isinstance(patterns, Iterable) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError(
            "`variables` must be the name of a variable, such as 'kernel', 'bias' or 'gamma', a pattern such as "
            f"'*kernel', a list of these, or a function of a variable. Received: variables={variables!r}"
        )
    return list(patterns)


def matching(
    model: keras.Model, include: LayerPatterns, exclude: LayerPatterns, variables: VariablePatterns
) -> Iterator[tuple[keras.Layer, keras.Variable]]:
    """The variables that are meant, each once, with the layer that made it; the model's own weights among them."""
    seen = set()
    for layer, inside in [(model, ()), *iter_sublayers(model)]:
        # Variables first: a function in `include` is only asked about layers that it could be meant for.
        wanted = [variable for variable in own_weights(layer) if select_variable(variable, variables)]
        if wanted and select(layer, include, exclude, inside):
            for variable in wanted:
                if id(variable) not in seen:
                    seen.add(id(variable))
                    yield layer, variable
