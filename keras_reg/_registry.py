"""The registry of methods, and the decorator that lists a public class in it."""

from __future__ import annotations

import dataclasses
import fnmatch
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import keras

Class = TypeVar("Class", bound=type[Any])

# Where a class of each kind goes in a training program, unless `@export` says otherwise.
_USUAL_PLACES = {
    "callback": "callback of fit",
    "constraint": "constraint of weights",
    "layer": "layer between layers",
    "loss": "loss",
    "metric": "metric",
    "model": "model",
    "optimizer": "optimizer wrapper",
    "regularizer": "regularizer of weights",
}
KINDS = tuple(_USUAL_PLACES)
PLACES = (*_USUAL_PLACES.values(), "layer in place of a stock layer", "wrapper of layers")
TASKS = (
    "attention",
    "augmentation",
    "calibration",
    "compression",
    "continual learning",
    "diagnostics",
    "fine-tuning",
    "hyperparameter tuning",
    "long training",
    "noisy labels",
    "optimization",
    "self-supervised learning",
    "small data",
    "weight decay",
)


@dataclasses.dataclass(frozen=True)
class Range:
    """The values of an argument that are worth trying, both ends included.

    Attributes:
        low: The smallest value.
        high: The largest value.
        log: Whether values are spread evenly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Method:
    """Describes one public method, as `keras_reg.list_methods` returns it.

    Attributes:
        name: The name below `keras_reg`, for example `"callbacks.EarlyLearningRegularization"`.
        kind: `"layer"`, `"regularizer"`, `"loss"`, `"metric"`, `"callback"`, `"optimizer"`, `"model"` or
            `"constraint"`.
        place: Where the method goes in a training program, for example `"callback of fit"` or `"wrapper of layers"`.
        tasks: What the method is for, for example `("noisy labels",)`.
        summary: The first line of the docstring of the class.
        tunable: The arguments that are worth tuning, with their ranges: objects with `low`, `high` and `log`.
        arxiv: The arXiv id of the paper, or `None` for a part without a paper.
        year: The year of the paper, or `None`.
        cls: The class itself.
    """

    name: str
    kind: str
    place: str
    tasks: tuple[str, ...]
    summary: str
    tunable: Mapping[str, Range] = dataclasses.field(hash=False)
    arxiv: str | None
    year: int | None
    cls: type[Any] = dataclasses.field(repr=False)


_REGISTRY: dict[str, Method] = {}


def export(
    name: str,
    *,
    kind: str,
    tasks: Sequence[str],
    place: str | None = None,
    tunable: Mapping[str, Range] | None = None,
    arxiv: str | None = None,
    year: int | None = None,
) -> Callable[[Class], Class]:
    """Lists a public class under `name`, and registers it for Keras serialization.

    The decorator returns the class unchanged. Keras inspects the signature of `__init__`, which a wrapper would hide.

    Args:
        name: The public name below `keras_reg`, for example `"callbacks.EarlyLearningRegularization"`.
        kind: One of `KINDS`, Keras's word for such a class.
        tasks: Some of `TASKS`, what the method is for.
        place: One of `PLACES`, where the method goes in a training program. Defaults to the usual place of the kind.
        tunable: The arguments that are worth tuning, with their ranges. Defaults to none.
        arxiv: The arXiv id of the paper, if there is one.
        year: The year of the paper.

    Returns:
        A class decorator.

    Raises:
        ValueError: If `kind`, `place` or a task is unknown, the name is taken, or the class has no docstring.
    """
    place = _USUAL_PLACES.get(kind, "") if place is None else place
    for argument, values, known in (("kind", [kind], KINDS), ("place", [place], PLACES), ("tasks", tasks, TASKS)):
        unknown = [value for value in values if value not in known]
        if unknown or not values:
            raise ValueError(f"`{argument}` must be from {known}. Received: {argument}={values!r}")

    def decorate(cls: Class) -> Class:
        if name in _REGISTRY:
            raise ValueError(f"The name {name!r} is already taken by {_REGISTRY[name].cls!r}. Received: {cls!r}")
        if "__doc__" not in vars(cls) or not cls.__doc__:
            raise ValueError(f"A public class needs a docstring. Its first line is its summary. Received: {cls!r}")
        summary = cls.__doc__.strip().splitlines()[0]
        keras.saving.register_keras_serializable(package="keras_reg")(cls)
        _REGISTRY[name] = Method(
            name, kind, place, tuple(tasks), summary, types.MappingProxyType(dict(tunable or {})), arxiv, year, cls
        )
        return cls

    return decorate


def list_methods(pattern: str = "*", *, task: str | None = None) -> list[Method]:
    """Lists the public methods of the package.

    Args:
        pattern: String. A shell-style pattern for the names, such as `"callbacks.*"`. Defaults to `"*"`.
        task: String. Lists only methods for this task, such as `"noisy labels"`. Defaults to `None`, for every task.

    Returns:
        A list of `Method`, sorted by name.

    Raises:
        ValueError: If `task` is unknown.

    Example:

    ```python
    for method in keras_reg.list_methods("callbacks.*"):
        print(method.name, method.arxiv, method.summary)
    for method in keras_reg.list_methods(task="noisy labels"):
        print(method.name, method.place, dict(method.tunable))
    ```
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"`task` must be one of {TASKS}. Received: task={task!r}")
    names = sorted(name for name in _REGISTRY if fnmatch.fnmatchcase(name, pattern))
    return [_REGISTRY[name] for name in names if task is None or task in _REGISTRY[name].tasks]
