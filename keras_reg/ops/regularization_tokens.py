"""Extra tokens in a sequence: the [REG] tokens of T-JEPA (arXiv 2410.05016, 2024), registers (arXiv 2309.16588, 2023).

The tokens attend and are attended to as all others; nothing is read from them. Nobody has said why they help.
"""

from __future__ import annotations

from typing import Any

from keras import ops

POSITIONS = ("start", "end")


def insert_tokens(x: Any, tokens: Any, position: str = "start") -> Any:
    """Puts the same tokens before or behind each sequence.

    Args:
        x: Sequences, shape (batch, length, width).
        tokens: The tokens, shape (num_tokens, width).
        position: `"start"` or `"end"`. Under causal attention only tokens at the start are seen by all others.

    Returns:
        Sequences of the type of `x`, shape (batch, length + num_tokens, width). What had the index i before has the
        index i + num_tokens behind tokens at the start.

    Example:

    ```python
    insert_tokens(np.zeros((2, 3, 4), "float32"), np.ones((1, 4), "float32"))  # shape (2, 4, 4)
    ```
    """
    x = ops.convert_to_tensor(x)
    tokens = ops.cast(tokens, x.dtype)
    rows = ops.broadcast_to(ops.expand_dims(tokens, 0), (ops.shape(x)[0], *tokens.shape))
    return ops.concatenate([rows, x] if position == "start" else [x, rows], axis=1)


def drop_tokens(x: Any, num_tokens: int, position: str = "start") -> Any:
    """Takes the tokens that `insert_tokens` put there out again.

    Args:
        x: Sequences or masks, shape (batch, length, ...).
        num_tokens: How many tokens to drop, at least 1.
        position: Where they stand: `"start"` or `"end"`.

    Returns:
        The rest, shape (batch, length - num_tokens, ...).

    Example:

    ```python
    drop_tokens(np.array([[1, 2, 3]]), 1)  # [[2, 3]]
    ```
    """
    return x[:, num_tokens:] if position == "start" else x[:, :-num_tokens]
