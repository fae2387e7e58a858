"""The mathematics of every method as pure functions on tensors, usable without Keras classes."""

from keras_reg.ops.anchored import anchored_penalty as anchored_penalty
from keras_reg.ops.arctan import polynomial_arctan as polynomial_arctan
from keras_reg.ops.arctan import scaled_arctan as scaled_arctan
from keras_reg.ops.attention_entropy import attention_entropy as attention_entropy
from keras_reg.ops.attention_entropy import entropy_deviation_penalty as entropy_deviation_penalty
from keras_reg.ops.batch_mixing import mix_samples as mix_samples
from keras_reg.ops.batch_mixing import paste_boxes as paste_boxes
from keras_reg.ops.beta import beta_log_prob as beta_log_prob
from keras_reg.ops.calibration import area_under_risk_coverage as area_under_risk_coverage
from keras_reg.ops.calibration import binned_area_under_risk_coverage as binned_area_under_risk_coverage
from keras_reg.ops.calibration import calibration_bins as calibration_bins
from keras_reg.ops.calibration import calibration_error as calibration_error
from keras_reg.ops.calibration import confidence_log_odds as confidence_log_odds
from keras_reg.ops.calibration import risk_coverage_bins as risk_coverage_bins
from keras_reg.ops.cauchy_schwarz import cauchy_schwarz_information as cauchy_schwarz_information
from keras_reg.ops.collapse import effective_rank as effective_rank
from keras_reg.ops.collapse import feature_deviation as feature_deviation
from keras_reg.ops.collapse import uniformity as uniformity
from keras_reg.ops.dispersive import dispersive_loss as dispersive_loss
from keras_reg.ops.early_learning import clip_probabilities as clip_probabilities
from keras_reg.ops.early_learning import early_learning_penalty as early_learning_penalty
from keras_reg.ops.early_learning import update_early_targets as update_early_targets
from keras_reg.ops.fisher import log_likelihood as log_likelihood
from keras_reg.ops.generalized_gaussian import generalized_gaussian_penalty as generalized_gaussian_penalty
from keras_reg.ops.generalized_gaussian import generalized_gaussian_ratio as generalized_gaussian_ratio
from keras_reg.ops.generalized_gaussian import generalized_gaussian_shape as generalized_gaussian_shape
from keras_reg.ops.group_envelope import group_envelope as group_envelope
from keras_reg.ops.group_envelope import proximal_group_envelope as proximal_group_envelope
from keras_reg.ops.group_envelope import strongest_groups as strongest_groups
from keras_reg.ops.hyper_response import along_samples as along_samples
from keras_reg.ops.hyper_response import free_numbers as free_numbers
from keras_reg.ops.hyper_response import hyper_linear as hyper_linear
from keras_reg.ops.hyper_response import hyper_squares as hyper_squares
from keras_reg.ops.hyper_response import hyper_weight as hyper_weight
from keras_reg.ops.hyperparameter_step import gradient_noise_gate as gradient_noise_gate
from keras_reg.ops.hyperparameter_step import hyperparameter_step as hyperparameter_step
from keras_reg.ops.hyperparameters import bounded as bounded
from keras_reg.ops.hyperparameters import perturbation_entropy as perturbation_entropy
from keras_reg.ops.hyperparameters import unbounded as unbounded
from keras_reg.ops.joint_embedding import column_tokens as column_tokens
from keras_reg.ops.joint_embedding import follow as follow
from keras_reg.ops.joint_embedding import gather_tokens as gather_tokens
from keras_reg.ops.joint_embedding import latent_prediction_loss as latent_prediction_loss
from keras_reg.ops.joint_embedding import sinusoidal_positions as sinusoidal_positions
from keras_reg.ops.label_weight import optimal_label_weight as optimal_label_weight
from keras_reg.ops.low_rank import low_rank_factors as low_rank_factors
from keras_reg.ops.low_rank import truncate_rank as truncate_rank
from keras_reg.ops.mask_sparsity import mask_sparsity_penalty as mask_sparsity_penalty
from keras_reg.ops.noise_mask import expand_mask as expand_mask
from keras_reg.ops.noise_mask import mask_log_concentrations as mask_log_concentrations
from keras_reg.ops.noise_mask import official_code_term as official_code_term
from keras_reg.ops.noise_mask import scale_gradient as scale_gradient
from keras_reg.ops.noise_mask import score_function_term as score_function_term
from keras_reg.ops.noise_mask import update_mask_base as update_mask_base
from keras_reg.ops.nuclear_norm import nuclear_norm as nuclear_norm
from keras_reg.ops.nuclear_norm import polar_factor as polar_factor
from keras_reg.ops.orthogonal_convolution import orthogonal_convolution_penalty as orthogonal_convolution_penalty
from keras_reg.ops.orthogonal_gradient import orthogonal_gradient as orthogonal_gradient
from keras_reg.ops.polarization import polarization_penalty as polarization_penalty
from keras_reg.ops.polarization import polarization_threshold as polarization_threshold
from keras_reg.ops.regularization_tokens import drop_tokens as drop_tokens
from keras_reg.ops.regularization_tokens import insert_tokens as insert_tokens
from keras_reg.ops.self_distillation import linear_schedule as linear_schedule
from keras_reg.ops.self_distillation import self_distillation_term as self_distillation_term
from keras_reg.ops.self_distillation import soften_targets as soften_targets
from keras_reg.ops.sigma_reparam import spectral_norm_step as spectral_norm_step
from keras_reg.ops.sigma_reparam import top_singular as top_singular
from keras_reg.ops.soft_orthogonality import mutual_coherence as mutual_coherence
from keras_reg.ops.soft_orthogonality import relaxed_orthogonality as relaxed_orthogonality
from keras_reg.ops.soft_orthogonality import soft_orthogonality as soft_orthogonality
from keras_reg.ops.soft_orthogonality import spectral_isometry as spectral_isometry
from keras_reg.ops.stable_max import log_stablemax as log_stablemax
from keras_reg.ops.stable_max import softmax_collapse as softmax_collapse
from keras_reg.ops.stable_max import stablemax_cross_entropy as stablemax_cross_entropy
from keras_reg.ops.top_k_rows import keep_top_k as keep_top_k
from keras_reg.ops.top_k_rows import spread_top_k as spread_top_k
from keras_reg.ops.weight_compander import compand_weight as compand_weight
from keras_reg.ops.weight_compander import invert_weight_compander as invert_weight_compander
from keras_reg.ops.weight_compander import weight_compander_bound as weight_compander_bound
from keras_reg.ops.weight_compander import weight_compander_slope as weight_compander_slope
from keras_reg.ops.weight_normalization import data_dependent_initialization as data_dependent_initialization
from keras_reg.ops.weight_normalization import normalize_weight as normalize_weight
from keras_reg.ops.weight_normalization import weight_length as weight_length
from keras_reg.ops.weight_response import hyperparameter_gradient as hyperparameter_gradient
from keras_reg.ops.weight_response import response_gradients as response_gradients
from keras_reg.ops.weight_response import weight_response as weight_response

__all__ = [
    "along_samples",
    "anchored_penalty",
    "area_under_risk_coverage",
    "attention_entropy",
    "beta_log_prob",
    "binned_area_under_risk_coverage",
    "bounded",
    "calibration_bins",
    "calibration_error",
    "cauchy_schwarz_information",
    "clip_probabilities",
    "column_tokens",
    "compand_weight",
    "confidence_log_odds",
    "data_dependent_initialization",
    "dispersive_loss",
    "drop_tokens",
    "early_learning_penalty",
    "effective_rank",
    "entropy_deviation_penalty",
    "expand_mask",
    "feature_deviation",
    "follow",
    "free_numbers",
    "gather_tokens",
    "generalized_gaussian_penalty",
    "generalized_gaussian_ratio",
    "generalized_gaussian_shape",
    "gradient_noise_gate",
    "group_envelope",
    "hyper_linear",
    "hyper_squares",
    "hyper_weight",
    "hyperparameter_gradient",
    "hyperparameter_step",
    "insert_tokens",
    "invert_weight_compander",
    "keep_top_k",
    "latent_prediction_loss",
    "linear_schedule",
    "log_likelihood",
    "log_stablemax",
    "low_rank_factors",
    "mask_log_concentrations",
    "mask_sparsity_penalty",
    "mix_samples",
    "mutual_coherence",
    "normalize_weight",
    "nuclear_norm",
    "official_code_term",
    "optimal_label_weight",
    "orthogonal_convolution_penalty",
    "orthogonal_gradient",
    "paste_boxes",
    "perturbation_entropy",
    "polar_factor",
    "polarization_penalty",
    "polarization_threshold",
    "polynomial_arctan",
    "proximal_group_envelope",
    "relaxed_orthogonality",
    "response_gradients",
    "risk_coverage_bins",
    "scale_gradient",
    "scaled_arctan",
    "score_function_term",
    "self_distillation_term",
    "sinusoidal_positions",
    "soft_orthogonality",
    "soften_targets",
    "softmax_collapse",
    "spectral_isometry",
    "spectral_norm_step",
    "spread_top_k",
    "stablemax_cross_entropy",
    "strongest_groups",
    "top_singular",
    "truncate_rank",
    "unbounded",
    "uniformity",
    "update_early_targets",
    "update_mask_base",
    "weight_compander_bound",
    "weight_compander_slope",
    "weight_length",
    "weight_response",
]
