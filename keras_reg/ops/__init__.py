"""The mathematics of every method as pure functions on tensors, usable without Keras classes."""

from keras_reg.ops.early_learning import clip_probabilities as clip_probabilities
from keras_reg.ops.early_learning import early_learning_penalty as early_learning_penalty
from keras_reg.ops.early_learning import update_early_targets as update_early_targets
from keras_reg.ops.self_distillation import linear_schedule as linear_schedule
from keras_reg.ops.self_distillation import self_distillation_term as self_distillation_term
from keras_reg.ops.self_distillation import soften_targets as soften_targets

__all__ = [
    "clip_probabilities",
    "early_learning_penalty",
    "linear_schedule",
    "self_distillation_term",
    "soften_targets",
    "update_early_targets",
]
