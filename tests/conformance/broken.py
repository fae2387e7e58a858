"""Deliberately broken classes. Each rule has one or more classes that break it, which shows that it can fail."""

from __future__ import annotations

import dataclasses
import unittest.mock
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.replicas import num_replicas
from keras_reg.callbacks import EarlyLearningRegularization
from keras_reg.ops import early_learning_penalty
from keras_reg.ops.early_learning import clip_probabilities, update_early_targets
from keras_reg.training import PerSampleMemory
from keras_reg.training._sample_ids import sample_ids
from tests.conformance.broken_layers import BROKEN_LAYERS
from tests.conformance.case import Case
from tests.conformance.cases import CASES


@dataclasses.dataclass(frozen=True)
class Broken:
    """Describes a case that breaks a rule, and the message of the rule."""

    rule: str
    case: Case
    message: str
    backends: tuple[str, ...] = ("tensorflow", "jax", "torch")


class ForgetsAnArgument(EarlyLearningRegularization):
    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "momentum"}


class NotRegistered(EarlyLearningRegularization):
    pass


class NotRegisteredLayer(keras.layers.Layer):
    def call(self, inputs):
        return inputs


class UsesTargetsBeforeTheirUpdate(EarlyLearningRegularization):
    def terms(self, batch):
        ids = sample_ids(batch.x)
        probabilities = clip_probabilities(ops.softmax(batch.y_pred))
        before, _ = self.memory.read(ids)
        self.memory.write(ids, update_early_targets(before, probabilities, self.momentum))
        return {"early_learning": (self.strength * early_learning_penalty(before, probabilities), batch.sample_weight)}


class CountsInPython(EarlyLearningRegularization):
    def terms(self, batch):
        self.steps = getattr(self, "steps", 0) + 1
        ((name, (values, weight)),) = super().terms(batch).items()
        return {name: (values * self.steps, weight)}


class AsksItsHost(EarlyLearningRegularization):
    def terms(self, batch):
        import jax

        jax.debug.callback(lambda: None)
        return super().terms(batch)


class BuildsTheStepAgain(EarlyLearningRegularization):
    def on_train_batch_end(self, batch, logs=None):
        self.model.make_train_function(force=True)


class ScaledByTheReplicas(EarlyLearningRegularization):
    def terms(self, batch):
        ((name, (values, weight)),) = super().terms(batch).items()
        shared = keras.backend.backend() == "jax" and keras.distribution.distribution() is not None
        return {name: (values * (2 if shared else num_replicas()), weight)}


class LocalMemory(PerSampleMemory):
    def write(self, ids, values):
        with unittest.mock.patch("keras_reg._keras.replicas.all_gather", lambda tensor: tensor):
            return super().write(ids, values)


class RemembersPerReplica(EarlyLearningRegularization):
    def create_memory(self, *arguments):
        return LocalMemory(self.num_samples, self.num_classes)


class NotThreadedThroughTheStep(EarlyLearningRegularization):
    @property
    def memory(self):
        return self._table

    def create_state(self, model):
        super().create_state(model)
        return []

    def check_state(self, read):
        pass

    def on_train_end(self, logs=None):
        self.detach()


class ForgetsBetweenFits(EarlyLearningRegularization):
    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.memory.values.assign(np.zeros(self.memory.values.shape, "float32"))


class ForgetsWhenRead(EarlyLearningRegularization):
    @property
    def targets(self):
        values = super().targets
        self.memory.values.assign(np.zeros(self.memory.values.shape, "float32"))
        return values


class KeepsTheFirstArguments(EarlyLearningRegularization):
    def on_train_begin(self, logs=None):
        self.model.first_strength = getattr(self.model, "first_strength", self.strength)
        super().on_train_begin(logs)

    def terms(self, batch):
        ((name, (values, weight)),) = super().terms(batch).items()
        return {name: (values / self.strength * self._model.first_strength, weight)}


class StaysOn(EarlyLearningRegularization):
    def detach(self):
        pass


class Naive(keras.callbacks.Callback):
    """Restores the loss only at the end of training, as a first attempt would."""

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        plain = type(model).compute_loss

        def compute_loss(x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return plain(model, x, y, y_pred, sample_weight, training) + ops.mean(ops.square(y_pred))

        model.compute_loss = compute_loss
        model.make_train_function(force=True)

    def on_train_end(self, logs: Any = None) -> None:
        del self.model.compute_loss
        self.model.train_function = None


class NaiveAndForgetful(Naive):
    def on_train_end(self, logs=None):
        pass


class HalfPrecision(EarlyLearningRegularization):
    def terms(self, batch):
        ids = sample_ids(batch.x)
        probabilities = clip_probabilities(ops.softmax(batch.y_pred))
        before, _ = self.memory.read(ids, batch.y_pred.dtype)
        targets = self.memory.write(ids, update_early_targets(before, probabilities, self.momentum))
        inner = ops.sum(targets * probabilities, axis=-1)
        return {"early_learning": (self.strength * ops.log(1 - inner), batch.sample_weight)}


class LoadsInEveryFit(EarlyLearningRegularization):
    def on_train_begin(self, logs=None):
        self.loaded = getattr(self, "loaded", None) or dict(self.pending_state)
        self.pending_state = dict(self.loaded)
        super().on_train_begin(logs)


class DoesNotSaveItsState(EarlyLearningRegularization):
    def saved_state(self):
        return []


GOES_ON = np.random.default_rng(0)  # The numbers differ in each training run, as without a seed.


class DoesNotSeed(EarlyLearningRegularization):
    def terms(self, batch):
        ((name, (values, weight)),) = super().terms(batch).items()
        return {name: (values * float(GOES_ON.uniform()), weight)}


class AcceptsAnything(EarlyLearningRegularization):
    def __init__(self, num_samples, num_classes, strength=3.0, **keywords):
        super().__init__(num_samples, num_classes, abs(strength), **keywords)


class SaysNothing(EarlyLearningRegularization):
    def check_model(self, model):
        self._logits = True


class NumbersWhatHasNoIds(EarlyLearningRegularization):
    def select(self, batch):
        if not isinstance(batch.x, dict):
            batch = dataclasses.replace(batch, x={"sample_id": ops.arange(ops.shape(batch.y)[0], dtype="int32")})
        return super().select(batch)


(EARLY_LEARNING,) = [case for case in CASES if case.cls is EarlyLearningRegularization]


def early_learning(rule: str, cls: type, message: str, *backends: str, **changes: Any) -> Broken:
    case = dataclasses.replace(EARLY_LEARNING, cls=cls, **changes)
    return Broken(rule, case, message, backends or Broken.backends)


BROKEN = [
    early_learning("config_round_trip", ForgetsAnArgument, "get_config omits"),
    early_learning("registered_for_serialization", NotRegistered, "registered as"),
    Broken(
        "saved_model_loads_in_a_fresh_process",
        Case(NotRegisteredLayer, "layer", {}, ()),
        "does not load",
    ),
    early_learning("golden_numbers_are_tested", EarlyLearningRegularization, "names no test", golden=()),
    early_learning("training_equals_a_simulation", UsesTargetsBeforeTheirUpdate, "differs from the simulation"),
    early_learning(
        "training_equals_the_other_backends", UsesTargetsBeforeTheirUpdate, "differs from the other backends"
    ),
    early_learning("eager_equals_compiled", CountsInPython, "differs from eager", "tensorflow", "jax"),
    early_learning("eager_equals_compiled", AsksItsHost, "calls the host", "jax"),
    early_learning("eager_equals_xla", CountsInPython, "differs from eager", "tensorflow"),
    early_learning(
        "nothing_is_traced_after_the_first_step", BuildsTheStepAgain, "calls of Python", "tensorflow", "jax"
    ),
    early_learning(
        "nothing_is_traced_after_the_first_step_by_xla", BuildsTheStepAgain, "calls of Python", "tensorflow"
    ),
    early_learning("a_ragged_last_batch_is_traced_once", BuildsTheStepAgain, "calls of Python", "tensorflow", "jax"),
    early_learning("two_replicas_equal_one", ScaledByTheReplicas, "two replicas differ from one", "tensorflow", "jax"),
    early_learning("two_replicas_equal_one", RemembersPerReplica, "two replicas differ from one", "tensorflow"),
    early_learning(
        "state_changes_in_every_epoch",
        NotThreadedThroughTheStep,
        "does not change",
        "jax",
        state=lambda method: {"targets": method.memory.numpy()},
    ),
    early_learning("state_changes_in_every_epoch", ForgetsBetweenFits, "fit twice"),
    early_learning("reading_changes_nothing", ForgetsWhenRead, "reading changes training"),
    early_learning("a_second_fit_takes_its_own_arguments", KeepsTheFirstArguments, "a stale step"),
    early_learning("after_fit_the_model_is_as_without_the_method", StaysOn, "left on the model"),
    Broken(
        "after_an_interrupted_fit_training_is_plain", Case(Naive, "callback", {}, ()), "tolerance|differs from plain"
    ),
    Broken("after_data_that_fail_training_is_plain", Case(Naive, "callback", {}, ()), "tolerance|differs from plain"),
    early_learning("mixed_float16", HalfPrecision, "inf|nan"),
    early_learning("mixed_bfloat16", HalfPrecision, "inf|nan"),
    Broken("validation_during_fit_is_plain", Case(Naive, "callback", {}, ()), "tolerance"),
    Broken("terms_are_logged", Case(Naive, "callback", {}, (), terms=("term",)), "History has no 'term'"),
    Broken("evaluation_after_fit_is_plain", Case(NaiveAndForgetful, "callback", {}, ()), "tolerance"),
    early_learning("resumed_by_backup_and_restore", DoesNotSaveItsState, "resumed with BackupAndRestore"),
    early_learning("resumed_from_a_saved_model", DoesNotSaveItsState, "resumed from a saved model"),
    early_learning("loaded_state_is_used_once", LoadsInEveryFit, "two fits after a loaded state"),
    early_learning("same_seed_same_run", DoesNotSeed, "the same seed gives different numbers"),
    early_learning("wrong_arguments_raise", AcceptsAnything, "is accepted", wrong_arguments=({"strength": -1.0},)),
    early_learning("no_effect_is_said", SaysNothing, "no NoEffectWarning"),
    early_learning("mistakes_raise_and_leave_the_model_whole", NumbersWhatHasNoIds, "no ids is accepted"),
    *(Broken(rule, case, says, backends or Broken.backends) for rule, case, says, *backends in BROKEN_LAYERS),
]


def find(name: str) -> Case:
    """Returns the case of a class, broken or not."""
    return {case.name: case for case in [*(broken.case for broken in BROKEN), *CASES]}[name]
