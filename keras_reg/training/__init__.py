"""How Keras trains: objective hooks, per-sample memory, replicas. The one room that knows."""

from keras_reg._memory.memory import PerSampleMemory as PerSampleMemory
from keras_reg._memory.storage import Storage as Storage
from keras_reg._warnings import NoEffectWarning as NoEffectWarning
from keras_reg.training.callback import ObjectiveCallback as ObjectiveCallback
from keras_reg.training.fisher import fisher_diagonal as fisher_diagonal
from keras_reg.training.per_sample import PerSampleCallback as PerSampleCallback
from keras_reg.training.terms import Batch as Batch

__all__ = [
    "Batch",
    "NoEffectWarning",
    "ObjectiveCallback",
    "PerSampleCallback",
    "PerSampleMemory",
    "Storage",
    "fisher_diagonal",
]
