"""Callbacks for `fit`: each switches a method on for an ordinary compiled model."""

from keras_reg.callbacks.collapse_monitor import CollapseMonitor as CollapseMonitor
from keras_reg.callbacks.early_learning import EarlyLearningRegularization as EarlyLearningRegularization
from keras_reg.callbacks.noise_mask import PolicyGradientNoiseMask as PolicyGradientNoiseMask
from keras_reg.callbacks.self_distillation import ProgressiveSelfDistillation as ProgressiveSelfDistillation
from keras_reg.callbacks.softmax_collapse import SoftmaxCollapseMonitor as SoftmaxCollapseMonitor
from keras_reg.callbacks.trained_rank_pruning import TrainedRankPruning as TrainedRankPruning

__all__ = [
    "CollapseMonitor",
    "EarlyLearningRegularization",
    "PolicyGradientNoiseMask",
    "ProgressiveSelfDistillation",
    "SoftmaxCollapseMonitor",
    "TrainedRankPruning",
]
