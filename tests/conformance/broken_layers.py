"""Broken layers and optimizers, for rules that treat them differently from callbacks."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
from keras import ops

from keras_reg.layers import Dispersive, SigmaReparam, WeightCompander
from keras_reg.optimizers import CompanderScaled
from tests.conformance.activation_cases import ACTIVATION_CASES
from tests.conformance.case import Case
from tests.conformance.layer_cases import LAYER_CASES


class ForgetsItsScale(WeightCompander):
    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "a"}


class AssignsTheKernel(SigmaReparam):
    """Assigns the kernel like `keras.layers.SpectralNormalization`. JAX drops assignments to trained variables."""

    def prepare(self, training, args, kwargs):
        if training:
            for kernel in self.kernels:
                kernel.variable.assign(0.9 * kernel.variable.value)


class StepsInInferenceToo(SigmaReparam):
    def effective(self, kernel, parameter, training=False):
        return super().effective(kernel, parameter, True)


class FollowsItsBatch(SigmaReparam):
    """On several replicas, follows only the part of the batch on the first replica."""

    def prepare(self, training, args, kwargs):
        if training:
            self._vectors["kernel"].assign(ops.mean(args[0], 0))


@keras.saving.register_keras_serializable("tests")
class StartsAnewWhenLoaded(SigmaReparam):
    def load_own_variables(self, store):
        super().load_own_variables(store)
        self._vectors["kernel"].assign(ops.full((4,), 0.5))


class LargerInTraining(WeightCompander):
    def effective(self, kernel, parameter, training=False):
        return super().effective(kernel, parameter, training) * (1.5 if training else 1.0)


class SmallerInInference(WeightCompander):
    """Folds to the layer that is used during training."""

    def effective(self, kernel, parameter, training=False):
        return super().effective(kernel, parameter, training) * (1.0 if training else 0.5)

    def _compute_inference_values(self):
        return {id(k.variable): self.effective(k, k.variable.value, True) for k in self.kernels}


class SeesItsReplicaOnly(Dispersive):
    def gather_batch(self, tensor):
        return tensor


class AddsItsTermAlways(Dispersive):
    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


class CountsStepsInPython(CompanderScaled):
    def apply(self, grads, trainable_variables=None):
        self.steps = getattr(self, "steps", 0) + 1
        return super().apply([gradient * (-1) ** self.steps for gradient in grads], trainable_variables)


class IgnoresSlopes(CompanderScaled):
    def apply(self, grads, trainable_variables=None):
        return self.optimizer.apply(grads, self._get_trained() if trainable_variables is None else trainable_variables)


def case_of(cls: type, **changes: Any) -> Case:
    """Returns the case of the class that the broken class derives from."""
    case = next(case for case in [*LAYER_CASES, *ACTIVATION_CASES] if issubclass(cls, case.cls))
    return dataclasses.replace(case, cls=cls, **changes)


#: The rule, the case, the message of the rule, and the backends, if not all of them.
BROKEN_LAYERS = [
    ("config_round_trip", case_of(ForgetsItsScale), "get_config omits"),
    (
        "training_equals_the_other_backends",
        case_of(AssignsTheKernel, reference={"loss": 1.204788, "weights": 9.423148, "kernel_singular_vector": 1.0}),
        "differs from the other backends",
        "jax",
    ),
    ("training_equals_a_simulation", case_of(LargerInTraining), "differs from the simulation"),
    ("training_equals_the_other_backends", case_of(IgnoresSlopes), "differs from the other backends"),
    ("eager_equals_compiled", case_of(CountsStepsInPython), "differs from eager", "tensorflow", "jax"),
    ("two_replicas_equal_one", case_of(FollowsItsBatch), "two replicas differ from one", "tensorflow"),
    ("two_replicas_equal_one", case_of(SeesItsReplicaOnly), "two replicas differ from one", "tensorflow"),
    ("validation_during_fit_is_plain", case_of(StepsInInferenceToo), "validation changes"),
    ("validation_during_fit_is_plain", case_of(AddsItsTermAlways), "tolerance", "jax"),
    ("validation_during_fit_is_plain", case_of(SmallerInInference), "tolerance"),
    ("evaluation_after_fit_is_plain", case_of(StepsInInferenceToo), "evaluation changes|tolerance"),
    ("resumed_from_a_saved_model", case_of(StartsAnewWhenLoaded), "resumed from a saved model"),
]
