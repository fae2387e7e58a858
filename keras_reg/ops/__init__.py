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
from keras_reg.ops.generalized_gaussian import generalized_gaussian_penalty as generalized_gaussian_penalty
from keras_reg.ops.group_envelope import group_envelope as group_envelope
from keras_reg.ops.group_envelope import proximal_group_envelope as proximal_group_envelope
from keras_reg.ops.label_weight import optimal_label_weight as optimal_label_weight
from keras_reg.ops.nuclear_norm import nuclear_norm as nuclear_norm
from keras_reg.ops.nuclear_norm import polar_factor as polar_factor
from keras_reg.ops.orthogonal_convolution import orthogonal_convolution_penalty as orthogonal_convolution_penalty
from keras_reg.ops.self_distillation import linear_schedule as linear_schedule
from keras_reg.ops.self_distillation import self_distillation_term as self_distillation_term
from keras_reg.ops.self_distillation import soften_targets as soften_targets
from keras_reg.ops.soft_orthogonality import mutual_coherence as mutual_coherence
from keras_reg.ops.soft_orthogonality import relaxed_orthogonality as relaxed_orthogonality
from keras_reg.ops.soft_orthogonality import soft_orthogonality as soft_orthogonality
from keras_reg.ops.soft_orthogonality import spectral_isometry as spectral_isometry

__all__ = [
    "area_under_risk_coverage",
    "binned_area_under_risk_coverage",
    "calibration_bins",
    "calibration_error",
    "clip_probabilities",
    "confidence_log_odds",
    "early_learning_penalty",
    "generalized_gaussian_penalty",
    "group_envelope",
    "linear_schedule",
    "mutual_coherence",
    "nuclear_norm",
    "optimal_label_weight",
    "orthogonal_convolution_penalty",
    "polar_factor",
    "proximal_group_envelope",
    "relaxed_orthogonality",
    "risk_coverage_bins",
    "self_distillation_term",
    "soft_orthogonality",
    "soften_targets",
    "spectral_isometry",
    "update_early_targets",
]
