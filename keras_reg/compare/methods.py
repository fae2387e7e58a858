"""What a method of the comparison is, and how variants of it are written."""

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

# The parameter that every method has, because every training has it.
LEARNING_RATE = "learning_rate"
# Every search tries this many settings, so that no method is tuned harder than another.
TRIALS = 8


@dataclasses.dataclass(frozen=True)
class Context:
    """What a method may build one run from.

    Attributes:
        build_model: Builds the (uncompiled) model, which gives logits.
        x: The training samples.
        y: Their given labels, integers.
        num_classes: The number of classes.
        epochs: How many epochs the run takes.
        batch_size: Samples per step.
    """

    build_model: Callable[[], keras.Model]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]
    num_classes: int
    epochs: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Suspects:
    """What a method believes of the given labels of the training samples.

    Attributes:
        suspected: Which labels it takes for wrong.
        suggested: The class it would give instead.
        margin: How much more it believes in that class than in the given one.
    """

    suspected: npt.NDArray[np.bool_]
    suggested: npt.NDArray[np.int64]
    margin: npt.NDArray[np.float64]


@dataclasses.dataclass
class Plan:
    """What one run fits, and with what.

    Attributes:
        model: The model that is trained and then scored by its logits; not compiled.
        x: What `fit` gets as samples.
        y: What `fit` gets as labels.
        loss: The loss it is compiled with.
        callbacks: The callbacks that switch the method on.
        suspects: Says, at any time in the run, which labels the method suspects; `None` if it cannot.
    """

    model: keras.Model
    x: Any
    y: npt.NDArray[Any]
    loss: Any
    callbacks: list[Any] = dataclasses.field(default_factory=list)
    suspects: Callable[[], Suspects] | None = None


@dataclasses.dataclass(frozen=True)
class Method:
    """One method that can be compared.

    Attributes:
        name: How it is called on the command line.
        summary: One line for the report.
        source: Where the default parameters come from.
        defaults: The parameters and their default values.
        search: What `--tune` tries, `TRIALS` settings; a learning rate is a multiple of the one that was asked for.
        plan: Builds what one run fits.
        extra_bytes: The memory it needs beyond plain training, for so many samples and classes.
        public: The name of its class in `keras_reg.list_methods()`, if it has one.
        asked_only: Whether it runs only when it is named: a variant, or a baseline that is not of this package.
    """

    name: str
    summary: str
    source: str
    defaults: Parameters
    search: tuple[Parameters, ...]
    plan: Callable[[Context, Parameters], Plan]
    extra_bytes: Callable[[int, int], int]
    public: str | None = None
    asked_only: bool = False


@dataclasses.dataclass(frozen=True)
class Variant:
    """A method with the parameters that were written for it.

    Attributes:
        label: How it is called in tables and files, in the notation of the command line.
        method: The method.
        given: The parameters that were written.
    """

    label: str
    method: Method
    given: Parameters

    def parameters(self, tuned: Parameters | None = None) -> dict[str, Any]:
        """All parameters: the defaults, what was tuned, what was written."""
        return {**self.method.defaults, **(tuned or {}), **self.given}


def parse_variants(texts: tuple[str, ...], catalogue: Mapping[str, Method]) -> tuple[Variant, ...]:
    """Reads the notation of `--methods`; plain training comes first, whether written or not.

    Args:
        texts: Such as `"early_learning"` or `"early_learning:strength=1:momentum=0.9"`; empty for all methods.
        catalogue: The methods there are.

    Returns:
        The variants.

    Raises:
        InputError: On an unknown method or parameter, a bad value, or a variant that is written twice.
    """
    variants = [_parse_variant(text.strip(), catalogue) for text in texts or _usual(catalogue)]
    if not any(variant.label == "plain" for variant in variants):
        variants.insert(0, _parse_variant("plain", catalogue))
    variants.sort(key=lambda variant: variant.label != "plain")
    labels = [variant.label for variant in variants]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"the method {label!r} is given twice")
    return tuple(variants)


def _usual(catalogue: Mapping[str, Method]) -> tuple[str, ...]:
    """The methods that run when none is named."""
    return tuple(name for name, method in catalogue.items() if not method.asked_only)


def _parse_variant(text: str, catalogue: Mapping[str, Method]) -> Variant:
    """Reads one method with its parameters."""
    name, *assignments = text.split(":")
    if name not in catalogue:
        raise InputError(f"unknown method {name!r}; there are {', '.join(catalogue)}")
    method = catalogue[name]
    known: dict[str, Any] = {**method.defaults, LEARNING_RATE: 1e-3}
    given: dict[str, Any] = {}
    for assignment in assignments:
        parameter, equals, value = assignment.partition("=")
        if not equals or parameter not in known:
            raise InputError(
                f"{name} has no parameter {parameter!r}; it has {', '.join(known)} (as {name}:PARAMETER=VALUE)"
            )
        given[parameter] = _parse_value(f"{name}:{parameter}", value, known[parameter])
    if given.get(LEARNING_RATE, 1) <= 0:
        raise InputError(f"{name}:{LEARNING_RATE} must be positive; it is {given[LEARNING_RATE]}")
    label = ":".join([name, *(f"{parameter}={value:g}" for parameter, value in sorted(given.items()))])
    return Variant(label, method, given)


def _parse_value(name: str, text: str, default: Any) -> Any:
    """A number of the type of the parameter's default value."""
    try:
        value = type(default)(text)
    except ValueError:
        raise InputError(f"{name} must be {type(default).__name__}; it is {text!r}") from None
    if not math.isfinite(value):
        raise InputError(f"{name} must be finite; it is {text!r}")
    return value
