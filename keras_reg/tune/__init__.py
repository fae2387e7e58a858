"""Hyperparameters that can change while a model trains: manually, by a schedule, or by `callbacks.SelfTuning`."""

from keras_reg.tune._implicit_search import HeadTuningResult as HeadTuningResult
from keras_reg.tune.binding import Binding as Binding
from keras_reg.tune.binding import bind as bind
from keras_reg.tune.hyperparameter import Float as Float
from keras_reg.tune.hyperparameter import Int as Int
from keras_reg.tune.implicit_head import ImplicitHeadTuning as ImplicitHeadTuning
from keras_reg.tune.of_model import hyperparameters as hyperparameters
from keras_reg.tune.of_model import set_hyperparameters as set_hyperparameters

__all__ = [
    "Binding",
    "Float",
    "HeadTuningResult",
    "ImplicitHeadTuning",
    "Int",
    "bind",
    "hyperparameters",
    "set_hyperparameters",
]
