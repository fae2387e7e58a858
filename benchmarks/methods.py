"""Applies each method to the models of `step_time.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_reg
from keras_reg import callbacks, constraints, layers, losses, metrics, optimizers, regularizers
from keras_reg.tune import Float, Int

Change = Callable[[keras.Model], keras.Model]


def sgd() -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(0.01)


def cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Method:
    """Describes what a method adds to training. Each callable field returns new objects at every call.

    Attributes:
        callback: Makes the callback from the number of samples and the number of classes.
        change: Changes the model before it is compiled, and returns it.
        front: Is applied to the input.
        attention: Is applied to the outputs and the weights of each attention layer.
        last: Is applied to the tensor that is pooled.
        between: Is applied to the features before the logits, and receives the input too.
        dense: Makes the dense layers.
        optimizer: Makes the optimizer.
        loss: Makes the loss.
        metrics: Makes the metrics.
        tuning: The method of `SelfTuning`, or `None` if nothing is tuned.
        table: If true, the method has a table with a row per sample.
        epochs: The number of epochs after which the method is active.
        models: The names of the models that the method applies to.
    """

    callback: Callable[[int, int], keras.callbacks.Callback] | None = None
    change: Change = lambda model: model
    front: Callable[[Any], Any] = lambda x: x
    attention: Callable[[Any, Any], Any] | None = None
    last: Callable[[Any], Any] = lambda x: x
    between: Callable[[Any, Any], Any] = lambda x, inputs: x
    dense: Callable[..., keras.layers.Layer] = keras.layers.Dense
    optimizer: Callable[[], keras.optimizers.Optimizer] = sgd
    loss: Callable[[], keras.losses.Loss] = cross_entropy
    metrics: Callable[[], list[keras.metrics.Metric]] = list
    tuning: str | None = None
    table: bool = False
    epochs: int = 1
    models: tuple[str, ...] = ("mlp", "resnet", "wide", "transformer")


def regularized(make: Callable[[], Any]) -> Change:
    """Returns a change that applies a regularizer to all kernels."""

    def change(model: keras.Model) -> keras.Model:
        keras_reg.apply_regularizer(model, make())
        return model

    return change


def wrapped(layer: type, **arguments: Any) -> Change:
    """Returns a change that wraps all layers with a kernel."""
    return lambda model: keras_reg.reparameterize(model, layer, **arguments)


def elastic(model: keras.Model) -> keras.Model:
    """Applies elastic weight consolidation. The importance is arbitrary, because it does not change the step time."""
    importance = {weight.path: np.ones(weight.shape, "float32") for weight in model.trainable_weights}
    return regularized(lambda: regularizers.ElasticWeightConsolidation(importance))(model)


def proximal(model: keras.Model) -> keras.Model:
    """Adds the proximal step of group sparsity, which runs after each update."""
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel_constraint = layer.kernel.constraint = constraints.ProximalGroupEnvelope(1e-4, num_groups=4)
    return model


def bottleneck(features: Any, inputs: Any) -> Any:
    return layers.CauchySchwarzBottleneck()([keras.layers.Flatten()(inputs), features])


def strength() -> Float:
    return Float("l2", 1e-4, low=0.0, log=True)


def hyper_dense(units: int, activation: Any = None) -> keras.layers.Layer:
    return layers.HyperDense(units, activation, hyperparameters=[shared], l2=shared)


def augmented(layer: type, value: float, high: float = 0.5) -> Method:
    """Returns a method that puts an augmentation layer in front of the network."""
    return Method(front=lambda x: layer(Float("strength", value, low=0.0, high=high))(x), models=("resnet",))


def cut_out(x: Any) -> Any:
    return layers.TunableCutout(Int("length", 8, low=0, high=24), Int("count", 1, low=0, high=4))(x)


shared = strength()
compander = wrapped(layers.WeightCompander, overflow="clip")
PLAIN = Method()
# Clipping avoids the error for weights that reach the bound. It does not change the step time.
METHODS = {
    "early_learning": Method(callback=callbacks.EarlyLearningRegularization, table=True),
    "self_distillation": Method(callback=callbacks.ProgressiveSelfDistillation, table=True, epochs=2),
    "self_distillation_model": Method(
        callback=lambda samples, classes: callbacks.ProgressiveSelfDistillation(source="model"), epochs=2
    ),
    "label_smoothing": Method(
        callback=lambda *sizes: callbacks.TunableLabelSmoothing(Float("smoothing", 0.1, low=0.0, high=0.5))
    ),
    "mixup": Method(callback=lambda *sizes: callbacks.TunableMixup(Float("alpha", 0.2, low=0.0, log=True))),
    "cutmix": Method(
        callback=lambda *sizes: callbacks.TunableCutMix(Float("alpha", 1.0, low=0.0, log=True)), models=("resnet",)
    ),
    "softmax_collapse": Method(callback=lambda *sizes: callbacks.SoftmaxCollapseMonitor()),
    "weight_compander": Method(change=compander),
    "weight_compander_learnable": Method(change=wrapped(layers.WeightCompander, learnable=True, overflow="clip")),
    "compander_scaled": Method(change=compander, optimizer=lambda: optimizers.CompanderScaled(sgd())),
    "weight_normalization": Method(change=wrapped(layers.WeightNormalization, keep_weights=False)),
    "sigma_reparam": Method(change=wrapped(layers.SigmaReparam)),
    "regularization_tokens": Method(
        front=lambda x: layers.RegularizationTokens(4)(x),
        last=lambda x: layers.DropTokens(4)(x),
        models=("transformer",),
    ),
    "attention_entropy": Method(
        attention=lambda x, scores: layers.AttentionEntropy()(x, attention_scores=scores), models=("transformer",)
    ),
    # This is not a method. It measures the cost of returning attention weights, which make Keras compute attention
    # differently.
    "attention_scores": Method(attention=lambda x, scores: x, models=("transformer",)),
    "beta_noise": Method(front=lambda x: layers.BetaNoise(2.0, 2.0)(x)),
    "policy_noise_mask": Method(
        front=lambda x: layers.PolicyNoiseMask(grid=8, blur_sigma=3.0)(x),
        callback=lambda *sizes: callbacks.PolicyGradientNoiseMask(),
        models=("resnet",),
    ),
    "gaussian_noise": Method(front=lambda x: layers.TunableGaussianNoise(Float("noise", 0.1, low=0.0))(x)),
    "dropout": Method(between=lambda x, inputs: layers.TunableDropout(Float("rate", 0.3, low=0.0, high=0.9))(x)),
    "brightness": augmented(layers.TunableBrightness, 0.2),
    "contrast": augmented(layers.TunableContrast, 0.2),
    "saturation": augmented(layers.TunableSaturation, 0.2),
    "hue": augmented(layers.TunableHue, 0.1),
    "translation": augmented(layers.TunableTranslation, 0.1),
    "scale": augmented(layers.TunableScale, 0.2),
    "shear": augmented(layers.TunableShear, 15.0, high=45.0),
    "cutout": Method(front=cut_out, models=("resnet",)),
    "dispersive": Method(between=lambda x, inputs: layers.Dispersive()(x)),
    "cauchy_schwarz": Method(between=bottleneck),
    "orthogonal_convolution": Method(change=regularized(regularizers.OrthogonalConvolution)),
    "soft_orthogonality": Method(change=regularized(regularizers.SoftOrthogonality)),
    "nuclear_norm": Method(change=regularized(regularizers.NuclearNorm)),
    "group_envelope": Method(change=regularized(lambda: regularizers.GroupEnvelope(1e-4, num_groups=4))),
    "proximal_group_envelope": Method(change=proximal),
    "generalized_gaussian": Method(change=regularized(regularizers.GeneralizedGaussianPrior)),
    "tunable_l1": Method(change=regularized(lambda: regularizers.TunableL1(strength()))),
    "tunable_l2": Method(change=regularized(lambda: regularizers.TunableL2(strength()))),
    "anchored_l2": Method(change=regularized(regularizers.AnchoredL2)),
    "elastic_weight_consolidation": Method(change=elastic),
    "polarization": Method(callback=lambda *sizes: callbacks.Polarization(1e-3), models=("normalized",)),
    "sparsity_mask": Method(callback=lambda *sizes: callbacks.SparsityMask(mask_epoch=0), models=("normalized",)),
    "trained_rank_pruning": Method(callback=lambda *sizes: callbacks.TrainedRankPruning()),
    "orthogonal_gradient": Method(optimizer=lambda: optimizers.OrthogonalGradient(sgd())),
    "stablemax": Method(loss=losses.StableMaxCrossentropy),
    "calibration_metrics": Method(
        metrics=lambda: [
            metrics.ExpectedCalibrationError(from_logits=True),
            metrics.NegativeLogLikelihood(from_logits=True),
        ]
    ),
    "self_tuning": Method(change=regularized(lambda: regularizers.TunableL2(strength())), tuning="delta"),
    "self_tuning_hyper_dense": Method(dense=hyper_dense, tuning="stn", models=("mlp", "wide")),
}
