"""Layers to build models from, or to wrap layers with."""

from keras_reg.layers.attention_entropy import AttentionEntropy as AttentionEntropy
from keras_reg.layers.cauchy_schwarz_bottleneck import CauchySchwarzBottleneck as CauchySchwarzBottleneck
from keras_reg.layers.dispersive import Dispersive as Dispersive
from keras_reg.layers.reparameterized import ReparameterizedLayer as ReparameterizedLayer
from keras_reg.layers.sigma_reparam import SigmaReparam as SigmaReparam
from keras_reg.layers.weight_compander import WeightCompander as WeightCompander
from keras_reg.layers.weight_normalization import WeightNormalization as WeightNormalization

__all__ = [
    "AttentionEntropy",
    "CauchySchwarzBottleneck",
    "Dispersive",
    "ReparameterizedLayer",
    "SigmaReparam",
    "WeightCompander",
    "WeightNormalization",
]
