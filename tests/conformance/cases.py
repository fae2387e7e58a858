"""Lists every public class of the package. A new class gets one entry here, and is tested with every rule."""

from __future__ import annotations

import keras
import numpy as np

import keras_reg
from tests.conformance.activation_cases import ACTIVATION_CASES
from tests.conformance.case import CLASSES, FEATURES, SAMPLES, Case, Mistake, Trial
from tests.conformance.grokking_cases import GROKKING_CASES
from tests.conformance.hyper_cases import HYPER_CASES
from tests.conformance.label_cases import LABEL_CASES
from tests.conformance.layer_cases import LAYER_CASES
from tests.conformance.noise_cases import NOISE_CASES
from tests.conformance.rank_cases import RANK_CASES
from tests.conformance.regularizer_cases import REGULARIZER_CASES
from tests.conformance.rules import load_all
from tests.conformance.scale_cases import SCALE_CASES
from tests.conformance.token_cases import TOKEN_CASES
from tests.conformance.tunable_cases import TUNABLE_CASES
from tests.conformance.tuning_cases import TUNING_CASES

#: Public classes that are not methods, with the reason why the rules do not apply to them.
NOT_METHODS = {
    "keras_reg.Method": "an entry of the registry",
    "keras_reg.NoEffectWarning": "a warning",
    "keras_reg.compare.Comparison": "a result",
    "keras_reg.data.SampleIdAdapter": "carries data past a model; tests/data/test_adapter.py",
    "keras_reg.layers.ReparameterizedLayer": "a base class; its subclasses are methods",
    "keras_reg.surgery.LayerRank": "a result",
    "keras_reg.training.Batch": "what a step knows of its batch",
    "keras_reg.training.ObjectiveCallback": "a base class; its subclasses are methods",
    "keras_reg.training.PerSampleCallback": "a base class; its subclasses are methods",
    "keras_reg.training.PerSampleMemory": "a part of callbacks; tests/_memory/test_memory.py",
    "keras_reg.callbacks.Storage": "an argument of callbacks; tests/_memory/test_storage.py",
    "keras_reg.training.Scalar": "a number that callbacks hold; tests/training/test_writing_callbacks.py",
    "keras_reg.tune.Binding": "a result",
    "keras_reg.tune.Float": "a number that methods hold; tests/tune",
    "keras_reg.tune.HeadTuningResult": "a record",
    "keras_reg.tune.ImplicitHeadTuning": "no part of a model: tests/tune/test_implicit_head.py",
    "keras_reg.tune.Int": "a number that methods hold; tests/tune",
}


def simulate_early_learning(arguments, kernel, bias, batches, learning_rate):
    """Simulates early-learning regularization as in the paper, with the authors' clip."""
    strength, momentum = arguments.get("strength", 3.0), arguments.get("momentum", 0.7)
    epsilon = arguments.get("epsilon", 1e-4)
    targets = np.zeros((arguments["num_samples"], arguments["num_classes"]))
    visited = np.zeros(len(targets), bool)
    for _, x, y, ids, sample_weight in batches:
        logits = x @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        clipped = np.clip(p, epsilon, 1 - epsilon)
        known = ids >= 0
        new = momentum * targets[ids] + (1 - momentum) * clipped / clipped.sum(1, keepdims=True)
        for row, i in enumerate(ids):
            if i >= 0:
                targets[i], visited[i] = new[row], True  # The last one of duplicates counts.
        t = targets[ids] * known[:, None]
        # The gradient d log(1 - <t, p>) / d p is 0 where the clip acts. Then it passes through the softmax.
        gradient = -t / (1 - (t * clipped).sum(1, keepdims=True)) * (clipped == p)
        gradient = p * (gradient - (gradient * p).sum(1, keepdims=True))
        gradient = (p - np.eye(len(bias))[y] + strength * gradient) * sample_weight[:, None] / len(y)
        kernel, bias = kernel - learning_rate * x.T @ gradient, bias - learning_rate * gradient.sum(0)
    return kernel, bias, {"targets": targets, "visited": visited}


def simulate_self_distillation(arguments, kernel, bias, batches, learning_rate):
    """Simulates progressive self-distillation as in the paper: cross-entropy with softened labels."""
    past = np.zeros((arguments["num_samples"], arguments["num_classes"]))
    visited = np.zeros(len(past), bool)
    for epoch, x, y, ids, sample_weight in batches:
        logits = x @ kernel + bias
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        weight = 0.8 * (epoch + 1) / arguments["epochs"] if epoch else 0.0
        hard = np.eye(len(bias))[y]
        known = ((ids >= 0) & visited[ids])[:, None]
        targets = np.where(known, (1 - weight) * hard + weight * past[ids], hard)
        for row, i in enumerate(ids):
            if i >= 0:
                past[i], visited[i] = p[row], True
        gradient = (p - targets) * sample_weight[:, None] / len(y)
        kernel, bias = kernel - learning_rate * x.T @ gradient, bias - learning_rate * gradient.sum(0)
    return kernel, bias, {"past": past, "visited": visited}


def without_ids(trial: Trial) -> None:
    trial.x = trial.x["features"]


def float_ids(trial: Trial) -> None:
    trial.x["sample_id"] = trial.x["sample_id"].astype("float32")


def several_ids(trial: Trial) -> None:
    trial.x["sample_id"] = np.stack([trial.x["sample_id"]] * 2, 1)


def negative_ids(trial: Trial) -> None:
    trial.x["sample_id"] = -1 - trial.x["sample_id"]


def relabelled(trial: Trial) -> None:
    trial.fit(epochs=1)
    trial.y = (trial.y + 1) % CLASSES


def two_outputs(trial: Trial) -> None:
    inputs = keras.Input((FEATURES,), name="features")
    outputs = {name: keras.layers.Dense(CLASSES, name=name)(inputs) for name in ("left", "right")}
    trial.model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trial.model.compile("sgd", {"left": loss, "right": loss})
    trial.y = {"left": trial.y, "right": trial.y}


def silent_loss(trial: Trial) -> None:
    trial.compile(loss=lambda y_true, y_pred: keras.losses.sparse_categorical_crossentropy(y_true, y_pred, True))


def unchanged(trial: Trial) -> None:
    pass


SELF_DISTILLATION = {"num_samples": SAMPLES, "num_classes": CLASSES, "epochs": 4}
EARLY_LEARNING = {"num_samples": SAMPLES, "num_classes": CLASSES}
WRONG_MEMORY_ARGUMENTS = (
    *({"output": value} for value in (3, True)),
    *({"check_ids": value} for value in (1, "no")),
    *({"save_memory": value} for value in (1, "no")),
    *({"storage": value} for value in (16, True)),
)
WRONG_BINS = tuple({"num_bins": value} for value in (0, 2.5, True, "10", None))
WRONG_METRICS = (
    *({"from_logits": value} for value in (1, "yes", None)),
    *({"dtype": value} for value in ("float16", "bfloat16")),
    *({"name": value} for value in (3, True, "")),
)

CASES = [
    Case(
        cls=keras_reg.callbacks.EarlyLearningRegularization,
        kind="callback",
        mechanism="per-sample table",
        arguments=EARLY_LEARNING,
        configurations=(
            {
                "num_samples": 7,
                "num_classes": 4,
                "strength": 1.5,
                "momentum": 0.25,
                "epsilon": 1e-3,
                "from_logits": True,
                "output": "left",
                "check_ids": True,
                "save_memory": False,
                "storage": {"dtype": "float16", "top_k": 2, "sharded": False},
            },
        ),
        other_arguments={"strength": 7.0},
        half_precision={"momentum": 0.0},
        state=lambda method: {"targets": method.targets, "visited": method.memory.numpy_visited()},
        terms=("early_learning",),
        golden=("tests/ops/test_early_learning.py::test_early_learning_ops_match_golden_loss_gradient_and_targets",),
        simulate=simulate_early_learning,
        reference={
            "loss": 0.2524847,
            "early_learning": -1.015223,
            "weights": 9.162085,
            "targets": 3.849692,
            "visited": 20.0,
        },
        wrong_arguments=(
            *({"num_samples": value} for value in (0, 2.5, True, "9", None)),
            *({"num_classes": value} for value in (1, 2.5, True, "three")),
            *({"strength": value} for value in (-1.0, float("nan"), float("inf"), True, "a")),
            *({"momentum": value} for value in (1.0, -0.1, True, "0.7")),
            *({"epsilon": value} for value in (0.0, 0.5, True, "1e-4")),
            *({"from_logits": value} for value in (1, "no")),
            *WRONG_MEMORY_ARGUMENTS,
        ),
        no_effect=(
            Mistake("strength 0", unchanged, "strength", {"strength": 0.0}),
            Mistake("all ids masked", negative_ids, "id"),
        ),
        mistakes=(
            Mistake("no ids", without_ids, "with_sample_ids"),
            Mistake("ids are floats", float_ids, "float32"),
            Mistake("several ids per sample", several_ids, "exactly one sample id"),
            Mistake("ids too large", unchanged, "num_samples=20", {"num_samples": 20}, after_a_step=True),
            Mistake("ids that change their meaning", relabelled, "a different label", {"check_ids": True}, True),
            Mistake("wrong number of classes", unchanged, "num_classes=4", {"num_classes": 4}),
            Mistake("two outputs, none named", two_outputs, "output"),
            Mistake("an output that is not there", two_outputs, "middle", {"output": "middle"}),
            Mistake("a loss that does not say from_logits", silent_loss, "from_logits"),
        ),
    ),
    Case(
        cls=keras_reg.callbacks.ProgressiveSelfDistillation,
        kind="callback",
        mechanism="rewritten targets",
        arguments=SELF_DISTILLATION,
        configurations=(
            {
                "num_samples": 7,
                "num_classes": 4,
                "final_weight": 0.5,
                "schedule": "constant",
                "epochs": 9,
                "output": "left",
                "check_ids": True,
                "save_memory": False,
                "storage": {"dtype": "float16", "top_k": 2, "sharded": False},
            },
            {"source": "model"},
        ),
        other_arguments={"final_weight": 0.3},
        state=lambda method: {"past": method.memory.numpy(), "visited": method.memory.numpy_visited()},
        terms=("self_distillation",),
        golden=("tests/ops/test_self_distillation.py::test_self_distillation_ops_match_golden_losses_and_gradients",),
        simulate=simulate_self_distillation,
        reference={
            "loss": 1.051033,
            "self_distillation": -0.2100125,
            "weights": 9.147525,
            "past": 8.522209,
            "visited": 20.0,
        },
        wrong_arguments=(
            *({"num_samples": value} for value in (0, 2.5, True, "9", None)),
            *({"num_classes": value} for value in (1, 2.5, True, "three", None)),
            *({"final_weight": value} for value in (1.5, -0.1, float("nan"), True, "0.8")),
            *({"schedule": value} for value in ("cosine", True, 0.5)),
            *({"epochs": value} for value in (0, 2.5, True, "4")),
            *({"source": value} for value in ("disk", None)),
            *WRONG_MEMORY_ARGUMENTS,
            {"check_ids": True, "source": "model"},
        ),
        no_effect=(
            Mistake("weight 0", unchanged, "weight of 0", {"final_weight": 0.0}),
            Mistake("all ids masked", negative_ids, "id"),
        ),
        mistakes=(
            Mistake("no ids", without_ids, "with_sample_ids"),
            Mistake("ids are floats", float_ids, "float32"),
            Mistake("ids too large", unchanged, "num_samples=20", {"num_samples": 20}, after_a_step=True),
            Mistake("ids that change their meaning", relabelled, "a different label", {"check_ids": True}, True),
            Mistake("wrong number of classes", unchanged, "num_classes=4", {"num_classes": 4}),
            Mistake("more epochs than the whole training", unchanged, "epochs=1", {"epochs": 1}),
            Mistake("two outputs, none named", two_outputs, "output"),
            Mistake("a loss that is not cross-entropy", silent_loss, "cross-entropy"),
        ),
    ),
    Case(
        cls=keras_reg.callbacks.ProgressiveSelfDistillation,
        variant="model",
        kind="callback",
        mechanism="second model",
        arguments={"source": "model", "epochs": 4},
        configurations=({"source": "model", "epochs": 9},),
        other_arguments={"final_weight": 0.3},
        terms=("self_distillation",),
        golden=("tests/ops/test_self_distillation.py::test_self_distillation_ops_match_golden_losses_and_gradients",),
        reference={"loss": 1.06343, "self_distillation": -0.1961681, "weights": 9.145728},
        not_applicable={"config_round_trip": "all arguments are in the other case"},
        no_effect=(Mistake("weight 0", unchanged, "weight of 0", {"final_weight": 0.0}),),
    ),
    *(
        Case(
            cls=cls,
            kind="metric",
            mechanism="metric",
            arguments={"from_logits": True},
            configurations=({**configuration, "from_logits": True, "name": "trust", "dtype": "float32"},),
            wrong_arguments=wrong,
            not_applicable=dict.fromkeys(
                set(load_all()) - {"config_round_trip", "registered_for_serialization", "wrong_arguments_raise"},
                "a metric measures training and does not change it; its numbers: tests/metrics",
            ),
        )
        for cls, configuration, wrong in (
            (keras_reg.metrics.ExpectedCalibrationError, {"num_bins": 7}, (*WRONG_METRICS, *WRONG_BINS)),
            (
                keras_reg.metrics.AreaUnderRiskCoverage,
                {"num_bins": 70, "excess": True},
                (*WRONG_METRICS, *WRONG_BINS, {"excess": 1}, {"excess": "yes"}, {"excess": None}),
            ),
            (keras_reg.metrics.NegativeLogLikelihood, {}, WRONG_METRICS),
        )
    ),
    *LAYER_CASES,
    *HYPER_CASES,
    *NOISE_CASES,
    *REGULARIZER_CASES,
    *RANK_CASES,
    *TOKEN_CASES,
    *GROKKING_CASES,
    *ACTIVATION_CASES,
    *SCALE_CASES,
    *TUNABLE_CASES,
    *TUNING_CASES,
    *LABEL_CASES,
]
