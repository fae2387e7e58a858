"""The ways in which methods take part in training. One class represents all classes that share a way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """Describes a way of taking part in training that several classes share.

    Attributes:
        description: What these classes have in common.
        representative: The name of the case that goes through the rules of the mechanism on every backend.
    """

    description: str
    representative: str


#: A class whose mechanism is not listed fails the suite: add the mechanism with the class as its representative.
MECHANISMS = {
    "per-sample table": Mechanism(
        "a callback that adds a term that depends on a row per sample", "EarlyLearningRegularization"
    ),
    "rewritten targets": Mechanism(
        "a callback that replaces the labels, with a row per sample or with a rule", "ProgressiveSelfDistillation"
    ),
    "second model": Mechanism("a callback that keeps a frozen copy of the model", "ProgressiveSelfDistillation-model"),
    "rewritten inputs": Mechanism("a callback that replaces the inputs and the labels", "TunableMixup"),
    "objective term": Mechanism("a callback that adds a term, with or without state", "SparsityMask"),
    "followed step": Mechanism("a callback that changes weights around a training step", "TrainedRankPruning"),
    "policy": Mechanism("a callback that trains a layer by a different rule", "PolicyGradientNoiseMask"),
    "tuned hyperparameter": Mechanism("a callback that trains hyperparameters in separate steps", "SelfTuning"),
    "measurement": Mechanism("a callback that measures training and does not change it", "SoftmaxCollapseMonitor"),
    "number between epochs": Mechanism("a callback that sets numbers between epochs", "GeneralizedGaussianShape"),
    "reparameterized kernel": Mechanism(
        "a layer that computes the kernel of another layer, with or without additional trained weights",
        "WeightCompander",
    ),
    "reparameterized kernel with state": Mechanism(
        "a layer that computes the kernel of another layer, with state that is not trained", "SigmaReparam"
    ),
    "layer with a loss": Mechanism("a layer that passes features through and calls `add_loss`", "Dispersive"),
    "random layer": Mechanism("a layer that draws noise during training", "BetaNoise"),
    "layer with weights": Mechanism("a layer with trained weights, which may depend on hyperparameters", "HyperDense"),
    "regularizer": Mechanism("a function of a weight that is added to the loss", "OrthogonalConvolution"),
    "regularizer with anchors": Mechanism("a regularizer with arrays of the shape of its weight", "AnchoredL2"),
    "hyperparameter": Mechanism("a layer or regularizer whose strength can be tuned", "TunableL2"),
    "constraint": Mechanism("a function that projects a weight after a step", "ProximalGroupEnvelope"),
    "loss": Mechanism("a function of labels and outputs", "StableMaxCrossentropy"),
    "metric": Mechanism("a sum over the samples of an epoch", "ExpectedCalibrationError"),
    "optimizer wrapper": Mechanism("an optimizer that changes the gradients of another optimizer", "CompanderScaled"),
    "optimizer wrapper of whole gradients": Mechanism(
        "an optimizer that changes gradients with values of the whole batch", "OrthogonalGradient"
    ),
    "whole model": Mechanism("a model that defines its own `train_step`", "TabularJEPA"),
}


def representative(case: Any, rule: str, cases: Iterable[Any], inapplicable: Callable[[Any], Any]) -> Any:
    """Returns the case that goes through a rule for the mechanism of `case`.

    Args:
        case: A conformance case.
        rule: The name of the rule.
        cases: All cases.
        inapplicable: A function of a case that returns a true value if the rule does not apply to it.

    Returns:
        The representative of the mechanism. If the rule does not apply to it, the first case of the mechanism to which
        the rule applies.
    """
    alike = [other for other in cases if other.mechanism == case.mechanism]
    alike.sort(key=lambda other: other.name != MECHANISMS[case.mechanism].representative)
    return next((other for other in alike if rule not in other.not_applicable and not inapplicable(other)), case)


def unrepresented(cases: Iterable[Any], mechanisms: Mapping[str, Mechanism] = MECHANISMS) -> list[str]:
    """Returns a line for each mistake in the mechanisms of the cases."""
    cases = list(cases)
    wrong = [f"{c.name}: mechanism {c.mechanism!r} is not listed" for c in cases if c.mechanism not in mechanisms]
    for name, mechanism in mechanisms.items():
        names = [case.name for case in cases if case.mechanism == name]
        if mechanism.representative not in names:
            wrong.append(f"{name}: the representative {mechanism.representative} is none of {names}")
    return wrong
