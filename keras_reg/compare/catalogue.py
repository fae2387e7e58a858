"""The catalogue of methods that can be compared."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg import callbacks, data, layers
from keras_reg.compare.methods import LEARNING_RATE, ComparedMethod, Context, Parameters, Plan, Suspects
from keras_reg.surgery.reparameterize import reparameterize


def _cross_entropy() -> keras.losses.Loss:
    """Returns the loss of every method that does not define another loss."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _plain(context: Context, parameters: Parameters) -> Plan:
    """Fits the model without a method."""
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

    def find_suspects() -> Suspects:
        targets = np.asarray(callback.targets, np.float64)
        suggested = targets.argmax(axis=-1)
        margin = targets.max(axis=-1) - targets[np.arange(len(targets)), context.y]
        return Suspects(np.asarray(callback.suspected_noise(context.y), bool), suggested, margin)

    return Plan(model, x, context.y, _cross_entropy(), [callback], find_suspects)


def _self_distillation(context: Context, parameters: Parameters) -> Plan:
    """Adds the callback that stores predictions, and the sample ids that it needs."""
    model = data.accept_sample_ids(context.build_model())
    x = data.with_sample_ids(model, context.x)
    callback = callbacks.ProgressiveSelfDistillation(
        num_samples=len(context.x), num_classes=context.num_classes, final_weight=parameters["final_weight"]
    )
    return Plan(model, x, context.y, _cross_entropy(), [callback])


def _self_distillation_model(context: Context, parameters: Parameters) -> Plan:
    """Adds the callback that keeps a frozen copy of the weights."""
    callback = callbacks.ProgressiveSelfDistillation(source="model", final_weight=parameters["final_weight"])
    return Plan(context.build_model(), context.x, context.y, _cross_entropy(), [callback])


def _weight_compander(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer, with the initial weights of the model without the method."""
    model = reparameterize(
        context.build_model(), layers.WeightCompander, a=parameters["a"], b=parameters["b"], overflow="clip"
    )
    return Plan(model, context.x, context.y, _cross_entropy())


def _weight_compander_learnable(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer. Each kernel learns its scales."""
    model = reparameterize(
        context.build_model(), layers.WeightCompander, a=parameters["a"], b=parameters["b"], learnable=True
    )
    return Plan(model, context.x, context.y, _cross_entropy())


def _weight_normalization(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer. The first batch initializes lengths and biases."""
    model = reparameterize(context.build_model(), layers.WeightNormalization, keep_weights=False)
    return Plan(model, context.x, context.y, _cross_entropy())


def _sigma_reparam(context: Context, parameters: Parameters) -> Plan:
    """Wraps every layer, with the initial weights of the model without the method."""
    model = reparameterize(context.build_model(), layers.SigmaReparam)
    return Plan(model, context.x, context.y, _cross_entropy())


def _label_smoothing(context: Context, parameters: Parameters) -> Plan:
    """Smooths the labels with the loss of Keras."""
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=parameters["smoothing"])
    y = np.eye(context.num_classes, dtype="float32")[context.y]
    return Plan(context.build_model(), context.x, y, loss)


# Pairs of strength and momentum in the ranges that the paper searched. The default is first.
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

# Reparameterizations change the effect of a learning rate. The learning rate is therefore searched, as it is without a
# method.
_LEARNING_RATES = tuple({LEARNING_RATE: factor} for factor in (1.0, 0.03, 0.1, 0.2, 0.5, 2.0, 5.0, 10.0))

_FINAL_WEIGHTS = tuple({"final_weight": weight} for weight in (0.8, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.9))

METHODS: dict[str, ComparedMethod] = {
    method.name: method
    for method in (
        ComparedMethod(
            name="plain",
            summary="Trains with cross-entropy on the given labels, without a method.",
            source="optimizer and learning rate of the comparison",
            defaults={},
            search=_LEARNING_RATES,
            plan=_plain,
            extra_bytes=lambda samples, classes: 0,
        ),
        ComparedMethod(
            name="early_learning",
            summary="Keeps each prediction close to the moving average of the model's earlier predictions.",
            source="the paper's values for CIFAR-10 with symmetric noise (arXiv 2007.00151)",
            defaults={"strength": 3.0, "momentum": 0.7},
            search=tuple({"strength": strength, "momentum": momentum} for strength, momentum in _EARLY_LEARNING_SEARCH),
            plan=_early_learning,
            # The table has a float32 per sample and class, and a byte per sample that marks the samples seen so far.
            extra_bytes=lambda samples, classes: samples * (classes * 4 + 1),
            public="callbacks.EarlyLearningRegularization",
        ),
        ComparedMethod(
            name="self_distillation",
            summary="Softens labels with the model's predictions of the previous epoch, stored for each sample.",
            source="the paper's weight (arXiv 2006.12000)",
            defaults={"final_weight": 0.8},
            search=_FINAL_WEIGHTS,
            plan=_self_distillation,
            extra_bytes=lambda samples, classes: samples * (classes * 4 + 1),
            public="callbacks.ProgressiveSelfDistillation",
        ),
        ComparedMethod(
            name="self_distillation_model",
            summary="Softens labels with the predictions of a frozen copy of the weights of the previous epoch.",
            source="the paper's weight (arXiv 2006.12000); the frozen copy is a variant by this package",
            defaults={"final_weight": 0.8},
            search=_FINAL_WEIGHTS,
            plan=_self_distillation_model,
            # The copy of the weights does not depend on the samples. The card of the method documents its size.
            extra_bytes=lambda samples, classes: 0,
            public="callbacks.ProgressiveSelfDistillation",
            on_request=True,
        ),
        *(
            ComparedMethod(
                name=name,
                summary=summary,
                source=source,
                defaults=defaults,
                search=_LEARNING_RATES,
                plan=plan,
                extra_bytes=lambda samples, classes: 0,
                public=public,
                on_request=True,
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
                    "Trains each weight through a bounded curve with two learned scales per kernel.",
                    "the paper's best initial values (arXiv 2306.16993)",
                    {"a": 0.5, "b": 1.0},
                    _weight_compander_learnable,
                    "layers.WeightCompander",
                ),
                (
                    "weight_normalization",
                    "Trains the length and the direction of each weight vector separately.",
                    "the method has no parameters (arXiv 1602.07868)",
                    {},
                    _weight_normalization,
                    "layers.WeightNormalization",
                ),
                (
                    "sigma_reparam",
                    "Divides each kernel by its largest singular value and multiplies it by a trained scale.",
                    "the method has no parameters (arXiv 2303.06296)",
                    {},
                    _sigma_reparam,
                    "layers.SigmaReparam",
                ),
            )
        ),
        ComparedMethod(
            name="label_smoothing",
            summary="Trains with Keras's cross-entropy on smoothed labels.",
            source="the usual value",
            defaults={"smoothing": 0.1},
            search=tuple({"smoothing": smoothing} for smoothing in (0.1, 0.01, 0.02, 0.05, 0.2, 0.3, 0.4, 0.6)),
            plan=_label_smoothing,
            extra_bytes=lambda samples, classes: 0,
            on_request=True,
        ),
    )
}
