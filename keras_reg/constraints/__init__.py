"""Constraints of weights, applied after each update: for `kernel_constraint` of a layer."""

from keras_reg.constraints.group_envelope import ProximalGroupEnvelope as ProximalGroupEnvelope

__all__ = ["ProximalGroupEnvelope"]
