"""Conformance cases of the regularizers and constraints of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reg import callbacks, constraints, regularizers, tune
from tests.conformance.case import Case, Mistake
from tests.conformance.rules import load_all
from tests.support.golden import numeric_gradient, shares_by_search

IN_EVALUATION = "Keras adds the penalties of regularizers to the loss of evaluate, as for its own regularizers"
NOT_APPLICABLE = {"validation_during_fit_is_plain": IN_EVALUATION, "evaluation_after_fit_is_plain": IN_EVALUATION}

ANCHORED = {
    **NOT_APPLICABLE,
    "state_changes_in_every_epoch": "anchors are constants; tests/regularizers/test_anchored.py",
}

#: The rules for a variant of a class. The other rules do not depend on the function that the variant calls.
OF_A_VARIANT = (
    "golden_numbers_are_tested",
    "training_equals_a_simulation",
    "training_equals_the_other_backends",
    "eager_equals_compiled",
    "mixed_float16",
    "wrong_arguments_raise",
)


def softmax_gradients(kernel, bias, x, y, sample_weight):
    """Returns the gradients of the cross-entropy of a linear softmax model."""
    p = np.exp(x @ kernel + bias)
    p /= p.sum(1, keepdims=True)
    gradient = (p - np.eye(len(bias))[y]) * sample_weight[:, None] / len(y)
    return x.T @ gradient, gradient.sum(0)


def simulated(penalty: Callable[[dict[str, Any], np.ndarray], float]) -> Callable[..., Any]:
    """Returns a simulation of training with a penalty in NumPy, whose gradient is numerical."""

    def simulate(arguments, kernel, bias, batches, learning_rate):
        for _, x, y, _, sample_weight in batches:
            kernel_gradient, bias_gradient = softmax_gradients(kernel, bias, x, y, sample_weight)
            kernel_gradient = kernel_gradient + numeric_gradient(lambda k: penalty(arguments, k), kernel)
            kernel, bias = kernel - learning_rate * kernel_gradient, bias - learning_rate * bias_gradient
        return kernel, bias, {}

    return simulate


def dense_penalty(arguments, kernel):
    """Returns strength * sum((s**2 - 1)**2) over the singular values s of a Dense kernel."""
    return arguments["strength"] * np.sum((np.linalg.svd(kernel, compute_uv=False) ** 2 - 1) ** 2)


def spectral_penalty(arguments, kernel):
    return arguments["strength"] * np.max((np.linalg.svd(kernel, compute_uv=False) ** 2 - 1) ** 2)


def coherence_penalty(arguments, kernel):
    return arguments["strength"] * np.max(np.abs(kernel.T @ kernel - np.eye(kernel.shape[1])))


def relaxed_penalty(arguments, kernel):
    distance = np.sqrt(dense_penalty({"strength": 1.0}, kernel))
    faded = 1 / (1 + np.exp(-arguments["sharpness"] * (distance - arguments["threshold"])))
    return arguments["strength"] * faded * distance


def nuclear_penalty(arguments, kernel):
    return arguments["strength"] * np.linalg.svd(kernel, compute_uv=False).sum()


def gaussian_penalty(arguments, kernel):
    return arguments["strength"] * np.sum((np.abs(kernel) + 1) ** arguments["shape"] - 1)


def envelope_penalty(arguments, kernel):
    norms = np.linalg.norm(kernel, axis=0)
    return arguments["strength"] * 0.5 * np.sum(norms**2 / shares_by_search(norms, arguments["num_groups"]))


def simulate_anchored(arguments, kernel, bias, batches, learning_rate):
    """Simulates a pull to the initial weights, with equal importance or with the importance that `Trial` sets."""
    anchor = kernel
    share = np.linspace(0.0, 2.0, kernel.size).reshape(kernel.shape) if "shares" in arguments else 1.0
    for _, x, y, _, sample_weight in batches:
        kernel_gradient, bias_gradient = softmax_gradients(kernel, bias, x, y, sample_weight)
        kernel_gradient = kernel_gradient + arguments["strength"] * share * (kernel - anchor)
        kernel, bias = kernel - learning_rate * kernel_gradient, bias - learning_rate * bias_gradient
    return kernel, bias, {"anchor": anchor}


def simulate_elastic(arguments, *training):
    return simulate_anchored({**arguments, "shares": True}, *training)


def get_anchor(method):
    return {name: constant.state for name, constant in method.constants.items() if name == "anchor"}


def sum_penalty(arguments, kernel):
    """Returns the penalty of `make_terms`, with the strength 0.03 of its hyperparameter."""
    nuclear = 0.05 * np.linalg.svd(kernel, compute_uv=False).sum()
    return 0.02 * np.abs(kernel).sum() + 0.03 * np.square(kernel).sum() + nuclear


def make_terms():
    decay = tune.Float("decay", 0.03, low=0.0, log=True)
    return [keras.regularizers.L1(0.02), regularizers.TunableL2(decay), regularizers.NuclearNorm(0.05)]


def make_anchored_terms():
    return [regularizers.AnchoredL2(0.5), keras.regularizers.L1(0.02)]


def simulate_anchored_sum(arguments, kernel, bias, batches, learning_rate):
    """Simulates the penalty of `make_anchored_terms`."""
    anchor = kernel

    def penalty(arguments, kernel):
        return 0.25 * np.sum((kernel - anchor) ** 2) + 0.02 * np.abs(kernel).sum()

    kernel, bias, _ = simulated(penalty)(arguments, kernel, bias, batches, learning_rate)
    return kernel, bias, {"anchor": anchor}


def simulate_proximal_step(arguments, kernel, bias, batches, learning_rate):
    """Simulates gradient steps, each followed by the proximal step, which is found by bisection.

    The proximal step of v is the x for which x + strength * envelope'(x) = v.
    """
    strength, k = arguments["strength"], arguments["num_groups"]
    for _, x, y, _, sample_weight in batches:
        kernel_gradient, bias_gradient = softmax_gradients(kernel, bias, x, y, sample_weight)
        kernel, bias = kernel - learning_rate * kernel_gradient, bias - learning_rate * bias_gradient
        norms = np.linalg.norm(kernel, axis=0)
        low, high = 0.0, 1e6
        for _ in range(200):
            middle = (low + high) / 2
            shares = np.clip(middle * np.sqrt(strength) * norms - strength, 0, 1)
            low, high = (low, middle) if shares.sum() >= k else (middle, high)
        kernel = kernel * shares / (shares + strength)
    return kernel, bias, {}


def make_case(cls: type, **fields: Any) -> Case:
    fields["not_applicable"] = {**NOT_APPLICABLE, **fields.get("not_applicable", {})}
    return Case(**{"cls": cls, "kind": "regularizer", "mechanism": "regularizer", **fields})


STRENGTHS = tuple({"strength": value} for value in (-0.1, float("nan"), float("inf"), "strong", True, None))
SHAPES = tuple({"shape": value} for value in (3, True, "2", (2, 0), (2.0,), (2, True)))
GROUPS = (
    *({"num_groups": value} for value in (0, 1.5, True, "2", None)),
    *({"axis": value} for value in (0.5, True, "0", None)),
)

REGULARIZER_CASES = [
    make_case(
        regularizers.OrthogonalConvolution,
        arguments={"strength": 0.05},
        configurations=(
            {"strength": 0.5, "strides": (2, 1), "groups": 3},
            {"strides": 2, "depthwise": True},
        ),
        half_precision={"strength": 1e-9},
        simulate=simulated(dense_penalty),
        golden=(
            "tests/ops/test_orthogonal_convolution.py::test_orthogonal_convolution_penalty_matches_golden_loss_and_gradient",
        ),
        reference={"loss": 1.319747, "weights": 9.064758},
        wrong_arguments=(
            *STRENGTHS,
            {"strides": 0},
            {"strides": (1, 0)},
            {"strides": 1.5},
            {"strides": ()},
            {"strides": True},
            {"strides": "2"},
            {"strides": (1, True)},
            {"groups": 0},
            {"groups": 2.0},
            {"groups": True},
            {"groups": "2"},
            {"depthwise": 3},
            {"depthwise": "no"},
            {"depthwise": None},
            {"depthwise": True, "groups": 2},
        ),
    ),
    *(
        make_case(
            regularizers.SoftOrthogonality,
            variant=variant,
            arguments=arguments,
            not_applicable=dict.fromkeys(
                set(load_all()) - set(OF_A_VARIANT) if variant else (), "the same as without options"
            ),
            configurations=({"strength": 0.5, "kind": "spectral"}, {"threshold": 2.0, "sharpness": 5.0}),
            half_precision={"strength": 1e-9},
            simulate=simulate,
            golden=golden,
            reference=reference,
            wrong_arguments=(
                *STRENGTHS,
                {"kind": "double"},
                {"kind": None},
                {"threshold": 1.0, "kind": "coherence"},
                {"threshold": -1.0},
                {"threshold": True},
                {"threshold": "1"},
                {"sharpness": 0.0},
                {"sharpness": True},
                {"sharpness": "1"},
                {"sharpness": None},
            ),
        )
        for variant, arguments, simulate, golden, reference in (
            (
                "",
                {"strength": 0.05},
                simulated(dense_penalty),
                ("tests/ops/test_soft_orthogonality.py::test_soft_orthogonality_matches_golden_loss_and_gradient",),
                {"loss": 1.319747, "weights": 9.064758},
            ),
            (
                "relaxed",
                {"strength": 0.5, "threshold": 1.0, "sharpness": 2.0},
                simulated(relaxed_penalty),
                ("tests/ops/test_soft_orthogonality.py::test_relaxed_orthogonality_matches_golden_loss_and_gradient",),
                {"loss": 1.54574, "weights": 9.096325},
            ),
            (
                "spectral",
                {"strength": 0.05, "kind": "spectral"},
                # Eight steps of the power iteration differ from the singular value that NumPy computes.
                None,
                ("tests/ops/test_soft_orthogonality.py::test_spectral_isometry_matches_golden_loss_and_gradient",),
                {"loss": 1.289734, "weights": 9.089},
            ),
            (
                "coherence",
                {"strength": 0.05, "kind": "coherence"},
                simulated(coherence_penalty),
                ("tests/ops/test_soft_orthogonality.py::test_soft_orthogonality_matches_golden_loss_and_gradient",),
                {"loss": 1.297861, "weights": 9.118271},
            ),
        )
    ),
    make_case(
        regularizers.NuclearNorm,
        arguments={"strength": 0.05},
        configurations=({"strength": 0.5, "steps": 7},),
        simulate=simulated(nuclear_penalty),
        golden=("tests/ops/test_nuclear_norm.py::test_nuclear_norm_matches_golden_loss_and_gradient",),
        reference={"loss": 1.389971, "weights": 8.855645},
        wrong_arguments=(*STRENGTHS, {"steps": 0}, {"steps": 2.5}, {"steps": True}, {"steps": "20"}),
    ),
    make_case(
        regularizers.GeneralizedGaussianPrior,
        arguments={"strength": 0.05, "shape": 0.7},
        configurations=({"strength": 0.5, "shape": 0.7, "offset": 0.1},),
        simulate=simulated(gaussian_penalty),
        golden=(
            "tests/ops/test_generalized_gaussian.py::test_generalized_gaussian_penalty_matches_golden_loss_and_gradient",
        ),
        reference={"loss": 1.461178, "weights": 8.760901},
        wrong_arguments=(
            *STRENGTHS,
            *({"shape": value} for value in (0.0, -1, True, "1", None)),
            *({"offset": value} for value in (-0.1, True, "1", None)),
            {"offset": 0.0, "shape": 0.5},
        ),
    ),
    make_case(
        regularizers.GroupEnvelope,
        arguments={"strength": 0.05, "num_groups": 2},
        configurations=({"strength": 0.5, "num_groups": 3, "axis": 0},),
        half_precision={"strength": 1e-4},
        simulate=simulated(envelope_penalty),
        golden=("tests/ops/test_group_envelope.py::test_group_envelope_matches_golden_loss_and_gradient",),
        reference={"loss": 1.410827, "weights": 8.589679},
        wrong_arguments=(*STRENGTHS, *GROUPS),
    ),
    make_case(
        regularizers.Sum,
        arguments={"regularizers": make_terms},
        configurations=({"regularizers": make_terms},),
        simulate=simulated(sum_penalty),
        golden=("tests/regularizers/test_sum.py::test_sum_matches_golden_loss_and_gradient",),
        reference={"loss": 1.57414, "weights": 8.496348},
        wrong_arguments=tuple({"regularizers": value} for value in ((), (None,), (3,), (True,), ("l3",), ("l2", {}))),
    ),
    Case(
        cls=regularizers.Sum,
        variant="anchored",
        kind="regularizer",
        mechanism="regularizer with anchors",
        arguments={"regularizers": make_anchored_terms},
        configurations=(),
        simulate=simulate_anchored_sum,
        state=lambda method: get_anchor(method.regularizers[0]),
        golden=("tests/regularizers/test_sum.py::test_sum_matches_golden_loss_and_gradient",),
        reference={"loss": 1.388549, "weights": 8.900548, "anchor": 2.363669},
        not_applicable=ANCHORED,
    ),
    Case(
        cls=regularizers.AnchoredL2,
        kind="regularizer",
        mechanism="regularizer with anchors",
        arguments={"strength": 0.5},
        configurations=({"strength": 0.7, "shape": (2, 3)},),
        other_arguments={"strength": 5.0},
        simulate=simulate_anchored,
        state=get_anchor,
        golden=("tests/ops/test_anchored.py::test_anchored_penalty_matches_golden_loss_and_gradient",),
        reference={"loss": 1.260725, "weights": 9.111127, "anchor": 2.363669},
        wrong_arguments=(*STRENGTHS, *SHAPES),
        not_applicable=ANCHORED,
    ),
    Case(
        cls=regularizers.ElasticWeightConsolidation,
        kind="regularizer",
        mechanism="regularizer with anchors",
        arguments={"strength": 0.5},
        configurations=(
            {"strength": 0.7, "shape": (2, 3)},
            {"fisher": {"dense/kernel": np.ones((2, 3), "float32")}},
        ),
        other_arguments={"strength": 5.0},
        simulate=simulate_elastic,
        state=get_anchor,
        golden=("tests/ops/test_anchored.py::test_anchored_penalty_matches_golden_loss_and_gradient",),
        reference={"loss": 1.260415, "weights": 9.134305, "anchor": 2.363669},
        wrong_arguments=(
            *STRENGTHS,
            *SHAPES,
            {"fisher": [1.0]},
            {"fisher": "all"},
            {"fisher": {"dense/kernel": "large"}},
            {"fisher": {"dense/kernel": np.float32([-1.0])}},
            {"fisher": {"dense/kernel": np.float32([np.nan])}},
        ),
        not_applicable=ANCHORED,
    ),
    Case(
        cls=constraints.ProximalGroupEnvelope,
        kind="constraint",
        mechanism="constraint",
        arguments={"strength": 0.05, "num_groups": 2},
        configurations=({"strength": 0.5, "num_groups": 3, "axis": 0},),
        simulate=simulate_proximal_step,
        golden=("tests/ops/test_group_envelope.py::test_proximal_step_matches_golden_loss_and_gradient",),
        reference={"loss": 1.301964, "weights": 6.864141},
        wrong_arguments=(*STRENGTHS, *GROUPS),
    ),
    Case(
        cls=callbacks.GeneralizedGaussianShape,
        kind="callback",
        mechanism="number between epochs",
        arguments={},
        configurations=(
            {"adapt": True, "step": 0.1, "include": "dense*", "exclude": "head", "variables": ["kernel", "bias"]},
        ),
        wrong_arguments=(
            {"adapt": 1},
            {"step": 0.0},
            {"step": "small"},
            {"include": 3},
            {"exclude": [None]},
            {"variables": 3},
        ),
        no_effect=(
            Mistake("no such layer", lambda trial: None, "nowhere", {"include": "nowhere"}),
            Mistake("no prior to adapt", lambda trial: None, "no shape is adapted", {"adapt": True}),
        ),
        not_applicable=dict.fromkeys(
            set(load_all())
            - {
                *("config_round_trip", "registered_for_serialization", "wrong_arguments_raise", "no_effect_is_said"),
                *("saved_model_loads_in_a_fresh_process", "two_replicas_equal_one", "evaluation_after_fit_is_plain"),
            },
            "it measures the weights once per epoch: tests/callbacks/test_generalized_gaussian_shape.py",
        ),
    ),
]
