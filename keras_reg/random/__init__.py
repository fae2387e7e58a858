"""Samplers that compile: pure functions of a seed."""

from keras_reg.random.subsets import disjoint_subsets as disjoint_subsets
from keras_reg.random.subsets import subset_sizes as subset_sizes

__all__ = ["disjoint_subsets", "subset_sizes"]
