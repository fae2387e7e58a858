"""Regularizers of weights, for arguments such as `kernel_regularizer` and for `keras_reg.apply_regularizer`."""

from keras_reg.regularizers.anchored_l2 import AnchoredL2 as AnchoredL2
from keras_reg.regularizers.elastic_weight_consolidation import (
    ElasticWeightConsolidation as ElasticWeightConsolidation,
)
from keras_reg.regularizers.generalized_gaussian_prior import GeneralizedGaussianPrior as GeneralizedGaussianPrior
from keras_reg.regularizers.group_envelope import GroupEnvelope as GroupEnvelope
from keras_reg.regularizers.mask_sparsity import MaskSparsity as MaskSparsity
from keras_reg.regularizers.nuclear_norm import NuclearNorm as NuclearNorm
from keras_reg.regularizers.orthogonal_convolution import OrthogonalConvolution as OrthogonalConvolution
from keras_reg.regularizers.soft_orthogonality import SoftOrthogonality as SoftOrthogonality
from keras_reg.regularizers.sum import Sum as Sum
from keras_reg.regularizers.tunable import TunableL1 as TunableL1
from keras_reg.regularizers.tunable import TunableL2 as TunableL2

__all__ = [
    "AnchoredL2",
    "ElasticWeightConsolidation",
    "GeneralizedGaussianPrior",
    "GroupEnvelope",
    "MaskSparsity",
    "NuclearNorm",
    "OrthogonalConvolution",
    "SoftOrthogonality",
    "Sum",
    "TunableL1",
    "TunableL2",
]
