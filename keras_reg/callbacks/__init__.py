"""Callbacks for `fit`. Each one adds a method to an ordinary compiled model."""

from keras_reg._memory.storage import Storage as Storage
from keras_reg.callbacks.batch_mixing import TunableCutMix as TunableCutMix
from keras_reg.callbacks.batch_mixing import TunableMixup as TunableMixup
from keras_reg.callbacks.collapse_monitor import CollapseMonitor as CollapseMonitor
from keras_reg.callbacks.early_learning import EarlyLearningRegularization as EarlyLearningRegularization
from keras_reg.callbacks.generalized_gaussian_shape import GeneralizedGaussianShape as GeneralizedGaussianShape
from keras_reg.callbacks.hyperparameter_schedule import HyperparameterSchedule as HyperparameterSchedule
from keras_reg.callbacks.hyperparameter_schedule import ReplaySchedule as ReplaySchedule
from keras_reg.callbacks.label_smoothing import TunableLabelSmoothing as TunableLabelSmoothing
from keras_reg.callbacks.noise_mask import PolicyGradientNoiseMask as PolicyGradientNoiseMask
from keras_reg.callbacks.polarization import Polarization as Polarization
from keras_reg.callbacks.regularization_report import RegularizationReport as RegularizationReport
from keras_reg.callbacks.self_distillation import ProgressiveSelfDistillation as ProgressiveSelfDistillation
from keras_reg.callbacks.self_tuning import SelfTuning as SelfTuning
from keras_reg.callbacks.softmax_collapse import SoftmaxCollapseMonitor as SoftmaxCollapseMonitor
from keras_reg.callbacks.sparsity_mask import SparsityMask as SparsityMask
from keras_reg.callbacks.trained_rank_pruning import TrainedRankPruning as TrainedRankPruning

__all__ = [
    "CollapseMonitor",
    "EarlyLearningRegularization",
    "GeneralizedGaussianShape",
    "HyperparameterSchedule",
    "Polarization",
    "PolicyGradientNoiseMask",
    "ProgressiveSelfDistillation",
    "RegularizationReport",
    "ReplaySchedule",
    "SelfTuning",
    "SoftmaxCollapseMonitor",
    "SparsityMask",
    "Storage",
    "TrainedRankPruning",
    "TunableCutMix",
    "TunableLabelSmoothing",
    "TunableMixup",
]
