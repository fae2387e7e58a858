"""Extra tokens in a sequence: the [REG] tokens of T-JEPA, and registers.

The tokens attend and are attended to like all others. Their outputs are not used. The reason why they help is not
known.

References:
    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    - [Darcet et al., 2023](https://arxiv.org/abs/2309.16588): Vision Transformers Need Registers
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor

POSITIONS = ("start", "end")


def insert_tokens(x: Tensor, tokens: Tensor, position: str = "start") -> Tensor:
    """Inserts the same tokens before or after each sequence.

    Args:
        x: Tensor. Sequences, shape (batch, length, width).
        tokens: Tensor. The tokens, shape (num_tokens, width).
        position: String. `"start"` or `"end"`. Under causal attention, only tokens at the start are seen by all others.
            Defaults to `"start"`.

    Returns:
        Sequences of the type of `x`, shape (batch, length + num_tokens, width). With tokens at the start, the index i
        becomes i + num_tokens.

    Example:

    ```python
    x, tokens = np.zeros((2, 3, 4), "float32"), np.ones((1, 4), "float32")
    insert_tokens(x, tokens)  # shape (2, 4, 4)
    ```
    """
    x = ops.convert_to_tensor(x)
    tokens = ops.cast(tokens, x.dtype)
    rows = ops.broadcast_to(ops.expand_dims(tokens, 0), (ops.shape(x)[0], *tokens.shape))
    return ops.concatenate([rows, x] if position == "start" else [x, rows], axis=1)


def drop_tokens(x: Tensor, num_tokens: int, position: str = "start") -> Tensor:
    """Removes the tokens that `insert_tokens` inserted.

    Args:
        x: Tensor. Sequences or masks, shape (batch, length, ...).
        num_tokens: Integer. The number of tokens to drop, at least 1.
        position: String. The position of the tokens, `"start"` or `"end"`. Defaults to `"start"`.

    Returns:
        The other tokens, shape (batch, length - num_tokens, ...).

    Example:

    ```python
    drop_tokens(np.array([[1, 2, 3]]), 1)  # [[2, 3]]
    ```
    """
    return x[:, num_tokens:] if position == "start" else x[:, :-num_tokens]
