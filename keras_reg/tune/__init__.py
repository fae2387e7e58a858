"""Hyperparameters that can change while a model trains: by hand, by a schedule, or by `callbacks.SelfTuning`."""

from keras_reg.tune.hyperparameter import Float as Float
from keras_reg.tune.hyperparameter import Hyperparameter as Hyperparameter
from keras_reg.tune.hyperparameter import Int as Int
from keras_reg.tune.of_model import hyperparameters as hyperparameters
from keras_reg.tune.of_model import set_hyperparameters as set_hyperparameters

__all__ = ["Float", "Hyperparameter", "Int", "hyperparameters", "set_hyperparameters"]
