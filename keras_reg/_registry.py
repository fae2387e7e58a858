"""One decorator that lists a public class in the method registry and registers it for serialization."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable
from typing import Any, TypeVar

import keras

Class = TypeVar("Class", bound=type[Any])

KINDS = ("layer", "regularizer", "loss", "metric", "callback", "optimizer", "model", "constraint")


@dataclasses.dataclass(frozen=True)
class Method:
    """One public method, as `keras_reg.list_methods()` returns it.

    Attributes:
        name: Where to find it below `keras_reg`, for example `"callbacks.EarlyLearningRegularization"`.
        kind: `"layer"`, `"regularizer"`, `"loss"`, `"metric"`, `"callback"`, `"optimizer"`, `"model"` or
            `"constraint"`.
        summary: The first line of the class's documentation.
        arxiv: The arXiv id of the paper, or `None` for a part that has no paper of its own.
        year: The year of the paper, or `None`.
        cls: The class itself.
    """

    name: str
    kind: str
    summary: str
    arxiv: str | None
    year: int | None
    cls: type[Any] = dataclasses.field(repr=False)


_REGISTRY: dict[str, Method] = {}


def export(name: str, *, kind: str, arxiv: str | None = None, year: int | None = None) -> Callable[[Class], Class]:
    """Lists a public class under `name` and registers it for Keras serialization.

    The class itself is returned unchanged: a wrapped `__init__` breaks Keras 3, which inspects its signature.

    Args:
        name: The public name below `keras_reg`, for example `"callbacks.EarlyLearningRegularization"`.
        kind: What Keras would call it, one of `keras_reg._registry.KINDS`.
        arxiv: The arXiv id of the paper, where there is one.
        year: The year of the paper.

    Returns:
        A class decorator.

    Raises:
        ValueError: If the kind is unknown, the name is taken, or the class has no documentation.
    """
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")

    def decorate(cls: Class) -> Class:
        if name in _REGISTRY:
            raise ValueError(f"The name {name!r} is already taken by {_REGISTRY[name].cls!r}. Received: {cls!r}")
        if "__doc__" not in vars(cls) or not cls.__doc__:
            raise ValueError(f"A public class needs a docstring, its first line is its summary. Received: {cls!r}")
        summary = cls.__doc__.strip().splitlines()[0]
        keras.saving.register_keras_serializable(package="keras_reg")(cls)
        _REGISTRY[name] = Method(name, kind, summary, arxiv, year, cls)
        return cls

    return decorate


def list_methods(pattern: str = "*") -> list[Method]:
    """Lists the public methods of the package.

    Args:
        pattern: A shell-style pattern that is matched against the names, such as `"callbacks.*"`.

    Returns:
        The methods, sorted by name, each with its name, kind, one-line summary and paper.

    Example:

    ```python
    for method in keras_reg.list_methods("callbacks.*"):
        print(method.name, method.arxiv, method.summary)
    ```
    """
    return [_REGISTRY[name] for name in sorted(_REGISTRY) if fnmatch.fnmatchcase(name, pattern)]
