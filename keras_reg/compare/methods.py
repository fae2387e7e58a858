"""The methods of a comparison, and the notation for their variants."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_reg.compare.errors import InputError

Parameters = Mapping[str, Any]

# Every method has this parameter, because every training run has one.
LEARNING_RATE = "learning_rate"
# Every search tries this number of settings, so that all methods get the same tuning effort.
TRIALS = 8


@dataclasses.dataclass(frozen=True)
class Context:
    """Provides what a method needs to build one run.

    Attributes:
        build_model: A function that builds the uncompiled model, which returns logits.
        x: The training samples.
        y: The labels to train on, integers.
        num_classes: The number of classes.
        epochs: The number of epochs of the run.
        batch_size: The number of samples per step.
    """

    build_model: Callable[[], keras.Model]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    num_classes: int
    epochs: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Suspects:
    """Holds what a method infers about the labels of the training samples.

    Attributes:
        suspected: True for each label that the method considers wrong.
        suggested: The class that the method considers right, for each sample.
        margin: The confidence in the suggested class minus the confidence in the label, for each sample.
    """

    suspected: npt.NDArray[np.bool_]
    suggested: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]


@dataclasses.dataclass
class Plan:
    """Holds the model of one run and the arguments of `compile` and `fit`.

    Attributes:
        model: The model to train, which is scored by its logits. It is not compiled.
        x: The samples for `fit`.
        y: The labels for `fit`.
        loss: The loss for `compile`.
        callbacks: The callbacks that apply the method.
        find_suspects: A function that returns the labels that the method suspects at any time in the run, or `None` if
            the method cannot suspect labels.
    """

    model: keras.Model
    x: Any
    y: npt.NDArray[Any]
    loss: Any
    callbacks: list[Any] = dataclasses.field(default_factory=list)
    find_suspects: Callable[[], Suspects] | None = None


@dataclasses.dataclass(frozen=True)
class ComparedMethod:
    """Describes one method that can be compared.

    Attributes:
        name: The name on the command line.
        summary: One line for the report.
        source: The origin of the default parameters.
        defaults: The parameters and their default values.
        search: The `TRIALS` settings that `--tune` tries. A learning rate is relative to that of the comparison.
        plan: A function that builds the plan of one run.
        extra_bytes: A function that returns the additional memory in bytes for a number of samples and of classes,
            compared to training without a method.
        public: The name of the class in `keras_reg.list_methods()`, if there is one.
        on_request: Whether the method runs only if it is named. Variants of another method, and baselines that are not
            part of this package, are on request.
    """

    name: str
    summary: str
    source: str
    defaults: Parameters
    search: tuple[Parameters, ...]
    plan: Callable[[Context, Parameters], Plan]
    extra_bytes: Callable[[int, int], int]
    public: str | None = None
    on_request: bool = False


@dataclasses.dataclass(frozen=True)
class Variant:
    """Combines a method with the parameters that the user chose for it.

    Attributes:
        label: The name in tables and files, in the notation of the command line.
        method: The method.
        overrides: The parameters that the user chose.
    """

    label: str
    method: ComparedMethod
    overrides: Parameters

    def parameters(self, tuned: Parameters | None = None) -> dict[str, Any]:
        """Returns all parameters. Tuned values replace defaults, and chosen values replace both."""
        return {**self.method.defaults, **(tuned or {}), **self.overrides}


def parse_variants(texts: tuple[str, ...], catalogue: Mapping[str, ComparedMethod]) -> tuple[Variant, ...]:
    """Parses the notation of `--methods`. The method `plain` always runs and comes first.

    Args:
        texts: Methods such as `"early_learning"` or `"early_learning:strength=1:momentum=0.9"`. Empty means all.
        catalogue: The known methods, by name.

    Returns:
        The variants.

    Raises:
        InputError: If a method or parameter is unknown, a value is invalid, or a variant is repeated.
    """
    variants = [_parse_variant(text.strip(), catalogue) for text in texts or _list_defaults(catalogue)]
    if not any(variant.label == "plain" for variant in variants):
        variants.insert(0, _parse_variant("plain", catalogue))
    variants.sort(key=lambda variant: variant.label != "plain")
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"the method {label!r} is listed twice")
    return tuple(variants)


def _list_defaults(catalogue: Mapping[str, ComparedMethod]) -> tuple[str, ...]:
    """Returns the methods that run if none is named."""
    return tuple(name for name, method in catalogue.items() if not method.on_request)


def _parse_variant(text: str, catalogue: Mapping[str, ComparedMethod]) -> Variant:
    """Parses one method with its parameters."""
    name, *assignments = text.split(":")
    if name not in catalogue:
        raise InputError(f"unknown method {name!r}; known methods are {', '.join(catalogue)}")
    method = catalogue[name]
    known: dict[str, Any] = {**method.defaults, LEARNING_RATE: 1e-3}
    overrides: dict[str, Any] = {}
    for assignment in assignments:
        parameter, equals, value = assignment.partition("=")
        if not equals or parameter not in known:
            raise InputError(
                f"{name} has no parameter {parameter!r}; it has {', '.join(known)} (write {name}:PARAMETER=VALUE)"
            )
        overrides[parameter] = _parse_value(f"{name}:{parameter}", value, known[parameter])
    if overrides.get(LEARNING_RATE, 1) <= 0:
        raise InputError(f"{name}:{LEARNING_RATE} must be positive; it is {overrides[LEARNING_RATE]}")
    label = ":".join([name, *(f"{parameter}={value:g}" for parameter, value in sorted(overrides.items()))])
    return Variant(label, method, overrides)


def _parse_value(name: str, text: str, default: Any) -> Any:
    """Converts a number to the type of the parameter's default value."""
    try:
        value = type(default)(text)
    except ValueError:
        raise InputError(f"{name} must be {type(default).__name__}; it is {text!r}") from None
    if not math.isfinite(value):
        raise InputError(f"{name} must be finite; it is {text!r}")
    return value
