"""How each method is switched on, on the models of `step_time.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from keras_reg import callbacks, layers, losses, optimizers, regularizers
from keras_reg.tune import Float


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01)


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Method:
    """What a method adds to a training; every field makes it anew.

    Attributes:
        callback: A callback, of the numbers of samples and of classes.
        wrapper: A class that wraps the layers of the model, and its arguments.
        between: A layer between the features and the last dense layer.
        regularizer: A regularizer of all kernels.
        optimizer: The optimizer.
        loss: The loss.
        table: Whether it has a table with a row for each sample.
        epochs: How many epochs it takes until it works.
    """

    callback: Callable[[int, int], keras.callbacks.Callback] | None = None
    wrapper: tuple[type, dict[str, Any]] | None = None
    between: Callable[[], keras.layers.Layer] | None = None
    regularizer: Callable[[], keras.regularizers.Regularizer] | None = None
    optimizer: Callable[[], keras.optimizers.Optimizer] = sgd
    loss: Callable[[], keras.losses.Loss] = cross_entropy
    table: bool = False
    epochs: int = 1


def smoothing(samples: int, classes: int) -> keras.callbacks.Callback:
    return callbacks.TunableLabelSmoothing(Float("smoothing", 0.1, low=0.0, high=0.5))


def mixup(samples: int, classes: int) -> keras.callbacks.Callback:
    return callbacks.TunableMixup(Float("alpha", 0.2, low=0.0, log=True))


PLAIN = Method()
# Overflow does not matter for the time that a step takes.
METHODS = {
    "early_learning": Method(callback=callbacks.EarlyLearningRegularization, table=True),
    "self_distillation": Method(callback=callbacks.ProgressiveSelfDistillation, table=True, epochs=2),
    "self_distillation_model": Method(
        callback=lambda samples, classes: callbacks.ProgressiveSelfDistillation(source="model"), epochs=2
    ),
    "label_smoothing": Method(callback=smoothing),
    "mixup": Method(callback=mixup),
    "softmax_collapse": Method(callback=lambda samples, classes: callbacks.SoftmaxCollapseMonitor()),
    "weight_compander": Method(wrapper=(layers.WeightCompander, {"overflow": "clip"})),
    "weight_compander_learnable": Method(wrapper=(layers.WeightCompander, {"learnable": True, "overflow": "clip"})),
    "weight_normalization": Method(wrapper=(layers.WeightNormalization, {"keep_weights": False})),
    "sigma_reparam": Method(wrapper=(layers.SigmaReparam, {})),
    "beta_noise": Method(between=lambda: layers.BetaNoise(2.0, 2.0)),
    "gaussian_noise": Method(between=lambda: layers.TunableGaussianNoise(Float("noise", 0.1, low=0.0))),
    "dropout": Method(between=lambda: layers.TunableDropout(Float("rate", 0.3, low=0.0, high=0.9))),
    "dispersive": Method(between=layers.Dispersive),
    "orthogonal_convolution": Method(regularizer=regularizers.OrthogonalConvolution),
    "soft_orthogonality": Method(regularizer=regularizers.SoftOrthogonality),
    "nuclear_norm": Method(regularizer=regularizers.NuclearNorm),
    "group_envelope": Method(regularizer=lambda: regularizers.GroupEnvelope(1e-4, 4)),
    "generalized_gaussian": Method(regularizer=regularizers.GeneralizedGaussianPrior),
    "tunable_l2": Method(regularizer=lambda: regularizers.TunableL2(Float("l2", 1e-4, low=0.0, log=True))),
    "anchored_l2": Method(regularizer=regularizers.AnchoredL2),
    "orthogonal_gradient": Method(optimizer=lambda: optimizers.OrthogonalGradient(sgd())),
    "stablemax": Method(loss=losses.StableMaxCrossentropy),
    "self_tuning": Method(regularizer=lambda: regularizers.TunableL2(Float("l2", 1e-4, low=0.0, log=True))),
}
