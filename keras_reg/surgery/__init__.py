"""Whole-model operations on models that exist: regularize variables, wrap, fold and factorize layers, strip noise."""

from keras_reg.surgery.low_rank import LayerRank as LayerRank
from keras_reg.surgery.low_rank import low_rank_factorize as low_rank_factorize
from keras_reg.surgery.low_rank import low_rank_report as low_rank_report
from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers
from keras_reg.surgery.reparameterize import fold as fold
from keras_reg.surgery.reparameterize import reparameterize as reparameterize
from keras_reg.surgery.strip import strip as strip

__all__ = [
    "LayerRank",
    "apply_regularizer",
    "fold",
    "low_rank_factorize",
    "low_rank_report",
    "remove_regularizers",
    "reparameterize",
    "strip",
]
