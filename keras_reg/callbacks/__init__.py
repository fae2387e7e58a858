"""Callbacks for `fit`: each switches a method on for an ordinary compiled model."""

from keras_reg.callbacks.early_learning import EarlyLearningRegularization as EarlyLearningRegularization

__all__ = ["EarlyLearningRegularization"]
