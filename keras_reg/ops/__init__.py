"""The mathematics of every method as pure functions on tensors, usable without Keras classes."""

from keras_reg.ops.early_learning import clip_probabilities as clip_probabilities
from keras_reg.ops.early_learning import early_learning_penalty as early_learning_penalty
from keras_reg.ops.early_learning import update_early_targets as update_early_targets

__all__ = ["clip_probabilities", "early_learning_penalty", "update_early_targets"]
