"""Regularization methods from the research literature for Keras 3: layers, regularizers, callbacks and more."""

from keras_reg import callbacks as callbacks
from keras_reg import compare as compare
from keras_reg import constraints as constraints
from keras_reg import data as data
from keras_reg import distribute as distribute
from keras_reg import layers as layers
from keras_reg import losses as losses
from keras_reg import metrics as metrics
from keras_reg import models as models
from keras_reg import ops as ops
from keras_reg import optimizers as optimizers
from keras_reg import random as random
from keras_reg import regularizers as regularizers
from keras_reg import surgery as surgery
from keras_reg import training as training
from keras_reg import tune as tune
from keras_reg._registry import Method as Method
from keras_reg._registry import list_methods as list_methods
from keras_reg._warnings import NoEffectWarning as NoEffectWarning
from keras_reg.surgery.low_rank import low_rank_factorize as low_rank_factorize
from keras_reg.surgery.prune import prune as prune
from keras_reg.surgery.regularize import apply_regularizer as apply_regularizer
from keras_reg.surgery.regularize import remove_regularizers as remove_regularizers
from keras_reg.surgery.reparameterize import fold as fold
from keras_reg.surgery.reparameterize import reparameterize as reparameterize
from keras_reg.version import __version__ as __version__

__all__ = [
    "Method",
    "NoEffectWarning",
    "__version__",
    "apply_regularizer",
    "callbacks",
    "compare",
    "constraints",
    "data",
    "distribute",
    "fold",
    "layers",
    "list_methods",
    "losses",
    "low_rank_factorize",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "prune",
    "random",
    "regularizers",
    "remove_regularizers",
    "reparameterize",
    "surgery",
    "training",
    "tune",
]
