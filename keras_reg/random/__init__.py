"""Samplers that compile under XLA on every backend."""

from keras_reg.random.gamma import beta as beta
from keras_reg.random.gamma import gamma as gamma
from keras_reg.random.gamma import log_gamma as log_gamma
from keras_reg.random.gamma import logit_beta as logit_beta
from keras_reg.random.subsets import disjoint_subsets as disjoint_subsets
from keras_reg.random.subsets import subset_sizes as subset_sizes

__all__ = ["beta", "disjoint_subsets", "gamma", "log_gamma", "logit_beta", "subset_sizes"]
