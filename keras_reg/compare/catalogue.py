"""The methods that can be compared, one entry each."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg import callbacks, data, layers
from keras_reg.compare.methods import LEARNING_RATE, Context, Method, Parameters, Plan, Suspects
from keras_reg.surgery.reparameterize import reparameterize


def _cross_entropy() -> keras.losses.Loss:
    """The loss of every method that does not bring its own."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _plain(context: Context, parameters: Parameters) -> Plan:
    """Fits the model as it is."""
    return Plan(context.build_model(), context.x, context.y, _cross_entropy())


def _early_learning(context: Context, parameters: Parameters) -> Plan:
    """Adds the callback, and the sample ids that it needs."""
    model = data.accept_sample_ids(context.build_model())
    x = data.with_sample_ids(model, context.x)
    callback = callbacks.EarlyLearningRegularization(
        num_samples=len(context.x),
        num_classes=context.num_classes,
        strength=parameters["strength"],
        momentum=parameters["momentum"],
    )

    def suspects() -> Suspects:
        targets = np.asarray(callback.targets, np.float64)
        suggested = targets.argmax(axis=-1)
        margin = targets.max(axis=-1) - targets[np.arange(len(targets)), context.y]
        return Suspects(np.asarray(callback.suspected_noise(context.y), bool), suggested, margin)

    return Plan(model, x, context.y, _cross_entropy(), [callback], suspects)


def _self_distillation(context: Context, parameters: Parameters) -> Plan:
    """Adds the callback that remembers predictions, and the sample ids that it needs."""
    model = data.accept_sample_ids(context.build_model())
    x = data.with_sample_ids(model, context.x)
    callback = callbacks.ProgressiveSelfDistillation(
        num_samples=len(context.x), num_classes=context.num_classes, final_weight=parameters["final_weight"]
    )
    return Plan(model, x, context.y, _cross_entropy(), [callback])


def _self_distillation_model(context: Context, parameters: Parameters) -> Plan:
    """Adds the callback that freezes a copy of the weights."""
    callback = callbacks.ProgressiveSelfDistillation(source="model", final_weight=parameters["final_weight"])
    return Plan(context.build_model(), context.x, context.y, _cross_entropy(), [callback])


def _weight_compander(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer, with the initial weights of the plain model."""
    model = reparameterize(
        context.build_model(), layers.WeightCompander, a=parameters["a"], b=parameters["b"], overflow="clip"
    )
    return Plan(model, context.x, context.y, _cross_entropy())


def _weight_compander_learnable(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer; each kernel learns its scales."""
    model = reparameterize(
        context.build_model(), layers.WeightCompander, a=parameters["a"], b=parameters["b"], learnable=True
    )
    return Plan(model, context.x, context.y, _cross_entropy())


def _weight_normalization(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer; the first batch initializes lengths and biases."""
    model = reparameterize(context.build_model(), layers.WeightNormalization, keep_weights=False)
    return Plan(model, context.x, context.y, _cross_entropy())


def _sigma_reparam(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer, with the initial weights of the plain model."""
    model = reparameterize(context.build_model(), layers.SigmaReparam)
    return Plan(model, context.x, context.y, _cross_entropy())


def _label_smoothing(context: Context, parameters: Parameters) -> Plan:
    """Smooths the labels, as Keras does."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=parameters["smoothing"])
    y = np.eye(context.num_classes, dtype="float32")[context.y]
    return Plan(context.build_model(), context.x, y, loss)


# Strength and momentum, out of the ranges that the paper searched; the default first.
_EARLY_LEARNING_SEARCH = (
    (3.0, 0.7),
    (1.0, 0.7),
    (5.0, 0.7),
    (10.0, 0.7),
    (3.0, 0.5),
    (3.0, 0.9),
    (7.0, 0.5),
    (7.0, 0.9),
)

# Reparameterizations change what a learning rate means, so that is what is searched, as for plain training.
_LEARNING_RATES = tuple({LEARNING_RATE: factor} for factor in (1.0, 0.03, 0.1, 0.2, 0.5, 2.0, 5.0, 10.0))

_FINAL_WEIGHTS = tuple({"final_weight": weight} for weight in (0.8, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9))

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="plain",
            summary="Cross-entropy with the given labels and nothing else.",
            source="the optimizer and learning rate of the comparison",
            defaults={},
            search=_LEARNING_RATES,
            plan=_plain,
            extra_bytes=lambda samples, classes: 0,
        ),
        Method(
            name="early_learning",
            summary="Holds each prediction near the moving average of the model's own earlier predictions.",
            source="the paper's values for CIFAR-10 with symmetric noise (arXiv 2007.00151)",
            defaults={"strength": 3.0, "momentum": 0.7},
            search=tuple({"strength": strength, "momentum": momentum} for strength, momentum in _EARLY_LEARNING_SEARCH),
            plan=_early_learning,
            # One float32 per sample and class, and one byte per sample that says whether it was seen.
            extra_bytes=lambda samples, classes: samples * (classes * 4 + 1),
            public="callbacks.EarlyLearningRegularization",
        ),
        Method(
            name="self_distillation",
            summary="Softens labels with the model's own predictions of the epoch before, remembered by sample.",
            source="the paper's weight (arXiv 2006.12000)",
            defaults={"final_weight": 0.8},
            search=_FINAL_WEIGHTS,
            plan=_self_distillation,
            extra_bytes=lambda samples, classes: samples * (classes * 4 + 1),
            public="callbacks.ProgressiveSelfDistillation",
        ),
        Method(
            name="self_distillation_model",
            summary="Softens labels with the predictions of a frozen copy of the weights of the epoch before.",
            source="the paper's weight (arXiv 2006.12000); the frozen copy is a variant of this package",
            defaults={"final_weight": 0.8},
            search=_FINAL_WEIGHTS,
            plan=_self_distillation_model,
            # A second copy of the weights, which does not depend on the samples; the page of the method says so.
            extra_bytes=lambda samples, classes: 0,
            public="callbacks.ProgressiveSelfDistillation",
            asked_only=True,
        ),
        *(
            Method(
                name=name,
                summary=summary,
                source=source,
                defaults=defaults,
                search=_LEARNING_RATES,
                plan=plan,
                extra_bytes=lambda samples, classes: 0,
                public=public,
                asked_only=True,
            )
            for name, summary, source, defaults, plan, public in (
                (
                    "weight_compander",
                    "Trains each weight through a bounded curve, w = a atan(v / b).",
                    "the middle of the paper's best settings (arXiv 2306.16993)",
                    {"a": 0.7, "b": 0.8},
                    _weight_compander,
                    "layers.WeightCompander",
                ),
                (
                    "weight_compander_learnable",
                    "Trains each weight through a bounded curve whose scales are learned, a pair for each kernel.",
                    "the paper's best initial values (arXiv 2306.16993)",
                    {"a": 0.5, "b": 1.0},
                    _weight_compander_learnable,
                    "layers.WeightCompander",
                ),
                (
                    "weight_normalization",
                    "Trains length and direction of each weight vector apart.",
                    "it has no parameters (arXiv 1602.07868)",
                    {},
                    _weight_normalization,
                    "layers.WeightNormalization",
                ),
                (
                    "sigma_reparam",
                    "Divides each kernel by its largest singular value and trains a scale for it.",
                    "it has no parameters (arXiv 2303.06296)",
                    {},
                    _sigma_reparam,
                    "layers.SigmaReparam",
                ),
            )
        ),
        Method(
            name="label_smoothing",
            summary="Cross-entropy with smoothed labels, as Keras has it.",
            source="the usual value",
            defaults={"smoothing": 0.1},
            search=tuple({"smoothing": smoothing} for smoothing in (0.1, 0.01, 0.02, 0.05, 0.2, 0.3, 0.4, 0.6)),
            plan=_label_smoothing,
            extra_bytes=lambda samples, classes: 0,
            asked_only=True,
        ),
    )
}
