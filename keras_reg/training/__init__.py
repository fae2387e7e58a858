"""The interface for your own callbacks that change the training objective."""

from keras_reg._memory.memory import PerSampleMemory as PerSampleMemory
from keras_reg.training._state import Scalar as Scalar
from keras_reg.training.callback import ObjectiveCallback as ObjectiveCallback
from keras_reg.training.fisher import fisher_diagonal as fisher_diagonal
from keras_reg.training.per_sample import PerSampleCallback as PerSampleCallback
from keras_reg.training.terms import Batch as Batch

__all__ = ["Batch", "ObjectiveCallback", "PerSampleCallback", "PerSampleMemory", "Scalar", "fisher_diagonal"]
