"""Layers that regularize a model, and wrappers that regularize other layers."""

from keras_reg.layers._reparameterized import ReparameterizedLayer as ReparameterizedLayer
from keras_reg.layers.attention_entropy import AttentionEntropy as AttentionEntropy
from keras_reg.layers.beta_noise import BetaNoise as BetaNoise
from keras_reg.layers.cauchy_schwarz_bottleneck import CauchySchwarzBottleneck as CauchySchwarzBottleneck
from keras_reg.layers.dispersive import Dispersive as Dispersive
from keras_reg.layers.hyper_conv import HyperConv2D as HyperConv2D
from keras_reg.layers.hyper_dense import HyperDense as HyperDense
from keras_reg.layers.hyper_embedding import HyperEmbedding as HyperEmbedding
from keras_reg.layers.hyper_lstm import HyperLSTM as HyperLSTM
from keras_reg.layers.policy_noise_mask import PolicyNoiseMask as PolicyNoiseMask
from keras_reg.layers.regularization_tokens import DropTokens as DropTokens
from keras_reg.layers.regularization_tokens import RegularizationTokens as RegularizationTokens
from keras_reg.layers.sigma_reparam import SigmaReparam as SigmaReparam
from keras_reg.layers.tunable import TunableDropout as TunableDropout
from keras_reg.layers.tunable import TunableGaussianNoise as TunableGaussianNoise
from keras_reg.layers.tunable_affine import TunableScale as TunableScale
from keras_reg.layers.tunable_affine import TunableShear as TunableShear
from keras_reg.layers.tunable_affine import TunableTranslation as TunableTranslation
from keras_reg.layers.tunable_color import TunableBrightness as TunableBrightness
from keras_reg.layers.tunable_color import TunableContrast as TunableContrast
from keras_reg.layers.tunable_color import TunableHue as TunableHue
from keras_reg.layers.tunable_color import TunableSaturation as TunableSaturation
from keras_reg.layers.tunable_cutout import TunableCutout as TunableCutout
from keras_reg.layers.weight_compander import WeightCompander as WeightCompander
from keras_reg.layers.weight_normalization import WeightNormalization as WeightNormalization

__all__ = [
    "AttentionEntropy",
    "BetaNoise",
    "CauchySchwarzBottleneck",
    "Dispersive",
    "DropTokens",
    "HyperConv2D",
    "HyperDense",
    "HyperEmbedding",
    "HyperLSTM",
    "PolicyNoiseMask",
    "RegularizationTokens",
    "ReparameterizedLayer",
    "SigmaReparam",
    "TunableBrightness",
    "TunableContrast",
    "TunableCutout",
    "TunableDropout",
    "TunableGaussianNoise",
    "TunableHue",
    "TunableSaturation",
    "TunableScale",
    "TunableShear",
    "TunableTranslation",
    "WeightCompander",
    "WeightNormalization",
]
