"""The mathematics of every method as pure functions on tensors, usable without Keras classes."""

from keras_reg.ops.calibration import area_under_risk_coverage as area_under_risk_coverage
from keras_reg.ops.calibration import binned_area_under_risk_coverage as binned_area_under_risk_coverage
from keras_reg.ops.calibration import calibration_bins as calibration_bins
from keras_reg.ops.calibration import calibration_error as calibration_error
from keras_reg.ops.calibration import confidence_log_odds as confidence_log_odds
from keras_reg.ops.calibration import risk_coverage_bins as risk_coverage_bins
from keras_reg.ops.early_learning import clip_probabilities as clip_probabilities
from keras_reg.ops.early_learning import early_learning_penalty as early_learning_penalty
from keras_reg.ops.early_learning import update_early_targets as update_early_targets
from keras_reg.ops.label_weight import optimal_label_weight as optimal_label_weight
from keras_reg.ops.self_distillation import linear_schedule as linear_schedule
from keras_reg.ops.self_distillation import self_distillation_term as self_distillation_term
from keras_reg.ops.self_distillation import soften_targets as soften_targets

__all__ = [
    "area_under_risk_coverage",
    "binned_area_under_risk_coverage",
    "calibration_bins",
    "calibration_error",
    "clip_probabilities",
    "confidence_log_odds",
    "early_learning_penalty",
    "linear_schedule",
    "optimal_label_weight",
    "risk_coverage_bins",
    "self_distillation_term",
    "soften_targets",
    "update_early_targets",
]
