"""Whole-model operations on models that exist already: give their variables a regularizer, and take it away."""

from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers

__all__ = ["apply_regularizer", "remove_regularizers"]
