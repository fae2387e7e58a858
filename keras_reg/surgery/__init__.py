"""Whole-model operations on models that exist already: give their variables a regularizer, wrap and fold layers."""

from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers
from keras_reg.surgery.reparameterize import fold as fold
from keras_reg.surgery.reparameterize import reparameterize as reparameterize

__all__ = ["apply_regularizer", "fold", "remove_regularizers", "reparameterize"]
