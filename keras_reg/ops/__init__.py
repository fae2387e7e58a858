"""Pure functions on tensors that compute the mathematics of the methods, without Keras classes."""

from keras_reg.ops.attention_entropy import attention_entropy as attention_entropy
from keras_reg.ops.batch_mixing import mix_samples as mix_samples
from keras_reg.ops.calibration import area_under_risk_coverage as area_under_risk_coverage
from keras_reg.ops.calibration import calibration_error as calibration_error
from keras_reg.ops.cauchy_schwarz import cauchy_schwarz_information as cauchy_schwarz_information
from keras_reg.ops.collapse import effective_rank as effective_rank
from keras_reg.ops.dispersive import dispersive_loss as dispersive_loss
from keras_reg.ops.early_learning import early_learning_penalty as early_learning_penalty
from keras_reg.ops.generalized_gaussian import generalized_gaussian_penalty as generalized_gaussian_penalty
from keras_reg.ops.joint_embedding import latent_prediction_loss as latent_prediction_loss
from keras_reg.ops.nuclear_norm import nuclear_norm as nuclear_norm
from keras_reg.ops.orthogonal_convolution import orthogonal_convolution_penalty as orthogonal_convolution_penalty
from keras_reg.ops.polarization import polarization_penalty as polarization_penalty
from keras_reg.ops.self_distillation import soften_targets as soften_targets
from keras_reg.ops.soft_orthogonality import soft_orthogonality as soft_orthogonality
from keras_reg.ops.stable_max import log_stablemax as log_stablemax
from keras_reg.ops.stable_max import stablemax_cross_entropy as stablemax_cross_entropy

__all__ = [
    "area_under_risk_coverage",
    "attention_entropy",
    "calibration_error",
    "cauchy_schwarz_information",
    "dispersive_loss",
    "early_learning_penalty",
    "effective_rank",
    "generalized_gaussian_penalty",
    "latent_prediction_loss",
    "log_stablemax",
    "mix_samples",
    "nuclear_norm",
    "orthogonal_convolution_penalty",
    "polarization_penalty",
    "soft_orthogonality",
    "soften_targets",
    "stablemax_cross_entropy",
]
