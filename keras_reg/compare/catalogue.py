"""The methods that can be compared, one entry each."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg import callbacks, data
from keras_reg.compare.methods import LEARNING_RATE, Context, Method, Parameters, Plan, Suspects


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

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            name="plain",
            summary="Cross-entropy with the given labels and nothing else.",
            source="Adam with the learning rate of the comparison",
            defaults={},
            search=tuple({LEARNING_RATE: factor} for factor in (1.0, 0.03, 0.1, 0.2, 0.5, 2.0, 5.0, 10.0)),
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
    )
}
