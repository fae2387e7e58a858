"""Samplers that XLA compiles on every backend."""

from keras_reg.random.gamma import beta as beta
from keras_reg.random.gamma import gamma as gamma
from keras_reg.random.gamma import log_gamma as log_gamma
from keras_reg.random.gamma import logit_beta as logit_beta

__all__ = ["beta", "gamma", "log_gamma", "logit_beta"]
