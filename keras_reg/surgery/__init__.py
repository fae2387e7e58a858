"""Whole-model operations on models that exist already: regularize variables, wrap and fold layers, strip noise."""

from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers
from keras_reg.surgery.reparameterize import fold as fold
from keras_reg.surgery.reparameterize import reparameterize as reparameterize
from keras_reg.surgery.strip import strip as strip

__all__ = ["apply_regularizer", "fold", "remove_regularizers", "reparameterize", "strip"]
