"""Whole-model operations on models that exist already: regularize, wrap and fold, strip, prune and factorize."""

from keras_reg.surgery.groups import cut_groups as cut_groups
from keras_reg.surgery.low_rank import LayerRank as LayerRank
from keras_reg.surgery.low_rank import low_rank_factorize as low_rank_factorize
from keras_reg.surgery.low_rank import low_rank_report as low_rank_report
from keras_reg.surgery.prune import prune as prune
from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers
from keras_reg.surgery.reparameterize import fold as fold
from keras_reg.surgery.reparameterize import reparameterize as reparameterize
from keras_reg.surgery.strip import strip as strip

__all__ = [
    "LayerRank",
    "apply_regularizer",
    "cut_groups",
    "fold",
    "low_rank_factorize",
    "low_rank_report",
    "prune",
    "remove_regularizers",
    "reparameterize",
    "strip",
]
