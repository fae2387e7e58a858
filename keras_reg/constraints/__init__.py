"""Constraints of weights, for `kernel_constraint`. Keras applies them after each update."""

from keras_reg.constraints.group_envelope import ProximalGroupEnvelope as ProximalGroupEnvelope

__all__ = ["ProximalGroupEnvelope"]
