"""Optimizers that wrap other optimizers."""

from keras_reg.optimizers.compander_scaled import CompanderScaled as CompanderScaled
from keras_reg.optimizers.orthogonal_gradient import OrthogonalGradient as OrthogonalGradient

__all__ = ["CompanderScaled", "OrthogonalGradient"]
