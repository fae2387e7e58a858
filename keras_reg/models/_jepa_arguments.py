"""Checks the arguments of `TabularJEPA`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from keras_reg._validation import check_integer, check_seed, is_number, reject
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder


def check_arguments(
    tokenizer: Any,
    encoder: Any,
    predictor: Any,
    num_tokens: Any,
    num_targets: Any,
    ranges: dict[str, Any],
    seed: Any,
) -> None:
    """Raises a `ValueError` for an argument that is out of range, and for parts that do not fit each other.

    Args:
        tokenizer: The argument `tokenizer`.
        encoder: The argument `encoder`.
        predictor: The argument `predictor`.
        num_tokens: The argument `num_tokens`.
        num_targets: The argument `num_targets`.
        ranges: The arguments that are pairs of numbers, by their names.
        seed: The argument `seed`.
    """
    if not isinstance(tokenizer, FeatureTokenizer) or tokenizer.cardinalities is None:
        reject("tokenizer", tokenizer, "must be a keras_reg.models.FeatureTokenizer with `cardinalities`")
    if len(tokenizer.cardinalities) < 2 or tokenizer.width % 2:
        raise ValueError(
            "`tokenizer` must have an even width, and at least two columns, so that one can be predicted from the "
            f"other. Received: tokenizer={tokenizer!r} with {len(tokenizer.cardinalities)} columns and width "
            f"{tokenizer.width}"
        )
    for name, part in {"encoder": encoder, "predictor": predictor}.items():
        if part is not None and not isinstance(part, TransformerEncoder):
            reject(name, part, "must be a keras_reg.models.TransformerEncoder or None")
    if encoder is not None and encoder.width != tokenizer.width:
        raise ValueError(
            f"`encoder` must have the width of the tokenizer, which is {tokenizer.width}. "
            f"Received: encoder={encoder!r} of width {encoder.width}"
        )
    if predictor is not None and (predictor.width % 2 or predictor is encoder):
        raise ValueError(
            "`predictor` must have an even width and must not be the same layer as `encoder`. "
            f"Received: predictor={predictor!r} of width {predictor.width}"
        )
    check_integer("num_tokens", num_tokens, at_least=0)
    check_integer("num_targets", num_targets)
    for name, pair in ranges.items():
        _check_range(name, pair, closed=name == "momentum")
    check_seed(seed)


def _check_range(name: str, pair: Any, closed: bool) -> None:
    """Raises a `ValueError` unless a value is two numbers from 0 to 1 in ascending order.

    Args:
        name: The name of the argument.
        pair: The value.
        closed: Whether the numbers may be 0 and 1.
    """
    least, most = (0.0, 1.0) if closed else (1e-9, 1.0 - 1e-9)
    numbers = list(pair) if isinstance(pair, Iterable) else []
    valid = len(numbers) == 2 and all(is_number(number) for number in numbers)
    if not valid or not least <= numbers[0] <= numbers[1] <= most:
        bounds = "from 0 to 1" if closed else "above 0 and below 1"
        reject(name, pair, f"must be two numbers {bounds} in ascending order")
