"""Optimizers that other optimizers are wrapped with."""

from keras_reg.optimizers.compander_scaled import CompanderScaled as CompanderScaled

__all__ = ["CompanderScaled"]
