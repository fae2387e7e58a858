"""Losses, for the argument `loss` of `compile`."""

from keras_reg.losses.stablemax_crossentropy import StableMaxCrossentropy as StableMaxCrossentropy

__all__ = ["StableMaxCrossentropy"]
