"""The warning of the package, where it was first: it lives in `keras_reg.errors`, which every room may import."""

from keras_reg.errors import NoEffectWarning as NoEffectWarning

__all__ = ["NoEffectWarning"]
