"""Small models of T-JEPA, and their golden weights."""

from __future__ import annotations

import pathlib

import keras
import numpy as np

from keras_reg.models import FeatureTokenizer, TabularJEPA, TransformerEncoder

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "tabular_jepa.npz", allow_pickle=False)
CARDINALITIES = [0, 0, 0, 0, *(int(count) for count in GOLDEN["cards"])]


def numpy(tensor) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(tensor))


def golden_model(num_tokens: int = 1, cls: type = TabularJEPA, **arguments) -> TabularJEPA:
    """Returns a model of the golden sizes."""
    type_embedding, dropout = arguments.pop("type_embedding", False), arguments.pop("dropout", 0.0)
    tokenizer = FeatureTokenizer(8, CARDINALITIES, type_embedding=type_embedding)
    encoder = TransformerEncoder(8, num_layers=2, num_heads=2, hidden=16, dropout=dropout)
    predictor = TransformerEncoder(4, num_layers=1, num_heads=2, hidden=8, dropout=dropout)
    return cls(tokenizer, encoder, predictor, num_tokens=num_tokens, **arguments)


def small_model(columns: int = 5, cls: type = TabularJEPA, **arguments) -> TabularJEPA:
    """Returns a model that compiles fast."""
    dropout = arguments.pop("dropout", 0.0)
    encoder = TransformerEncoder(4, num_layers=1, num_heads=2, hidden=8, dropout=dropout)
    predictor = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=4, dropout=dropout)
    return cls(FeatureTokenizer(4, [0] * columns), encoder, predictor, **{"num_targets": 2, "seed": 3, **arguments})


def transformer_arrays(prefix: str, layers: int) -> list[np.ndarray]:
    """Returns golden arrays in the order of the weights of a `TransformerEncoder`."""
    arrays = []
    for i in range(layers):
        block = f"{prefix}.transformer.layers.{i}."
        weight, bias = GOLDEN[f"{block}self_attn.in_proj_weight"], GOLDEN[f"{block}self_attn.in_proj_bias"]
        width = weight.shape[1]
        for part, offset in zip(np.split(weight, 3), np.split(bias, 3), strict=True):
            arrays += [part.T.reshape(width, 2, -1), offset.reshape(2, -1)]
        arrays += [GOLDEN[f"{block}self_attn.out_proj.weight"].T.reshape(2, -1, width)]
        arrays += [GOLDEN[f"{block}self_attn.out_proj.bias"]]
        for name in ("linear1", "linear2"):
            arrays += [GOLDEN[f"{block}{name}.weight"].T, GOLDEN[f"{block}{name}.bias"]]
        arrays += [GOLDEN[f"{block}norm{n}.{kind}"] for n in (1, 2) for kind in ("weight", "bias")]
    arrays += [GOLDEN[f"{prefix}.layernorm{n}.{kind}"] for n in (1, 2) for kind in ("weight", "bias")]
    return [*arrays, GOLDEN[f"{prefix}.fc.weight"].T, GOLDEN[f"{prefix}.fc.bias"]]


def encoder_arrays(prefix: str, num_tokens: int, types: bool = False) -> list[np.ndarray]:
    """Returns golden arrays in the order of the weights of the column encoder.

    The authors' encoder stores [REG] with the numeric columns.
    """
    weight = GOLDEN[f"{prefix}/tokenizer.weight"]
    tables = [GOLDEN[f"{prefix}/tokenizer.category_embeddings.{i}.weight"] for i in (0, 1)]
    arrays = [weight[num_tokens:], np.concatenate(tables)]
    arrays += [GOLDEN[f"{prefix}/tokenizer.bias"]]
    arrays += [GOLDEN[f"{prefix}/feature_type_embedding.weight"]] if types else []
    reg = [weight[:num_tokens]] if num_tokens else []
    return [*arrays, *transformer_arrays(f"{prefix}/encoder", 2), *reg]


def encoder_weights(encoder) -> list[keras.Variable]:
    """Returns the weights of a column encoder in the order of `encoder_arrays`."""
    tokenizer = encoder.tokenizer
    named = [tokenizer.weight, tokenizer.embeddings, tokenizer.bias, tokenizer.types]
    tokens = [] if encoder.tokens is None else [encoder.tokens.tokens]
    return [v for v in named if v is not None] + transformer_weights(encoder.encoder) + tokens


def transformer_weights(transformer: TransformerEncoder) -> list[keras.Variable]:
    weights = []
    for block in transformer.blocks:
        for layer in (block.attention, block.expand, block.contract, *block.norms):
            weights += layer.trainable_weights if layer.trainable else layer.weights
    for layer in (*transformer.norms, transformer.projection):
        weights += layer.weights
    return [v for v in weights if "seed" not in v.path]


def predictor_arrays(prefix: str) -> list[np.ndarray]:
    name = f"{prefix}/predictors."
    arrays = [GOLDEN[f"{name}mask_token"][0, 0], GOLDEN[f"{name}predictor_emb.weight"].T]
    arrays += [GOLDEN[f"{name}predictor_emb.bias"], *transformer_arrays(f"{name}transformer", 1)]
    arrays += [GOLDEN[f"{name}predictor_norm.{kind}"] for kind in ("weight", "bias")]
    return [*arrays, GOLDEN[f"{name}predictor_proj.weight"].T, GOLDEN[f"{name}predictor_proj.bias"]]


def predictor_weights(predictor) -> list[keras.Variable]:
    weights = [predictor.mask_token, *predictor.narrow.weights, *transformer_weights(predictor.encoder)]
    return [*weights, *predictor.norm.weights, *predictor.widen.weights]


def assign(variables, arrays) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        assert tuple(variable.shape) == array.shape, variable.path
        variable.assign(array)
