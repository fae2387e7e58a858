"""Models with their own training objective, and their parts."""

from keras_reg.models.feature_tokenizer import FeatureTokenizer as FeatureTokenizer
from keras_reg.models.tabular_jepa import TabularJEPA as TabularJEPA
from keras_reg.models.transformer_encoder import TransformerEncoder as TransformerEncoder

__all__ = ["FeatureTokenizer", "TabularJEPA", "TransformerEncoder"]
