"""Checks of the arguments of `TabularJEPA`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reg._validation import check_integer
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder


def check_arguments(
    tokenizer: Any, encoder: Any, predictor: Any, num_tokens: Any, num_targets: Any, ranges: dict[str, Any]
) -> None:
    """Raises a `ValueError` for an argument that is out of its range, and for parts that do not fit each other."""
    if not isinstance(tokenizer, FeatureTokenizer) or tokenizer.cardinalities is None:
        raise ValueError(
            "`tokenizer` must be a keras_reg.models.FeatureTokenizer that was given `cardinalities`. "
            f"Received: tokenizer={tokenizer!r}"
        )
    if len(tokenizer.cardinalities) < 2 or tokenizer.width % 2:
        raise ValueError(
            "`tokenizer` must have at least two columns, one to predict from the other, and an even width. "
            f"Received: tokenizer={tokenizer!r} with {len(tokenizer.cardinalities)} columns and width {tokenizer.width}"
        )
    for name, part in {"encoder": encoder, "predictor": predictor}.items():
        if part is not None and not isinstance(part, TransformerEncoder):
            raise ValueError(f"`{name}` must be a keras_reg.models.TransformerEncoder. Received: {name}={part!r}")
    if encoder is not None and encoder.width != tokenizer.width:
        raise ValueError(
            f"`encoder` must have the width {tokenizer.width} of the tokenizer. "
            f"Received: encoder={encoder!r} of width {encoder.width}"
        )
    if predictor is not None and (predictor.width % 2 or predictor is encoder):
        raise ValueError(
            "`predictor` must be a layer of its own, of an even width. "
            f"Received: predictor={predictor!r} of width {predictor.width}"
        )
    if isinstance(num_tokens, bool) or not isinstance(num_tokens, (int, np.integer)) or num_tokens < 0:
        raise ValueError(f"`num_tokens` must be an integer of at least 0. Received: num_tokens={num_tokens!r}")
    check_integer("num_targets", num_targets)
    for name, pair in ranges.items():
        _check_range(name, pair, *((0.0, 1.0) if name == "momentum" else (1e-9, 1.0 - 1e-9)))


def _check_range(name: str, pair: Any, least: float, most: float) -> None:
    try:
        first, last = (float(value) for value in pair)
        right = least <= first <= last <= most
    except (TypeError, ValueError):
        right = False
    if not right:
        bounds = "from 0 to 1" if least == 0.0 else "above 0 and below 1"
        raise ValueError(f"`{name}` must be two numbers {bounds}, rising. Received: {name}={pair!r}")
