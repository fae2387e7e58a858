"""Rows of many numbers in few: the largest ones with their places, and the mean of all others.

No method of a paper, but how its table is kept where a row per sample does not fit: a row of class probabilities is
mostly a few large numbers.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def keep_top_k(rows: Any, k: int) -> tuple[Any, Any, Any]:
    """The `k` largest values of each row, their places, and the mean of the rest: the row's sum is kept.

    Args:
        rows: Shape (batch, width).
        k: How many values to keep, 1 to `width`.

    Returns:
        values: The largest values, in descending order, shape (batch, k).
        places: Their places in the row, shape (batch, k), int32.
        rest: The mean of the other values, shape (batch,); zeros if there are none.

    Example:

    ```python
    values, places, rest = keep_top_k(np.array([[0.1, 0.7, 0.2]]), 1)  # [[0.7]], [[1]], [0.15]
    ```
    """
    rows = ops.convert_to_tensor(rows)
    values, places = ops.top_k(rows, k)
    places = ops.cast(places, "int32")
    width = int(rows.shape[1])
    # The others are summed, and not what is missing of the row's sum: so that a single one is kept as it is.
    others = ops.scatter_update(rows, _indices(places), ops.reshape(ops.zeros_like(values), (-1,)))
    return values, places, ops.sum(others, axis=1) / max(width - k, 1)


def spread_top_k(values: Any, places: Any, rest: Any, width: int) -> Any:
    """The rows that `keep_top_k` has kept, the rest spread uniformly.

    Rows are what they were if k is `width` or one less; otherwise the kept values and the sum of a row are.

    Args:
        values: The kept values, shape (batch, k).
        places: Their places, shape (batch, k), integers.
        rest: The value of every other place, shape (batch,).
        width: The length of a row.

    Returns:
        Rows, shape (batch, width), in the type of `values`.

    Example:

    ```python
    spread_top_k(np.array([[0.7]]), np.array([[1]]), np.array([0.15]), 3)  # [[0.15, 0.7, 0.15]]
    ```
    """
    values = ops.convert_to_tensor(values)
    rest = ops.cast(rest, values.dtype)
    rows = ops.repeat(ops.expand_dims(rest, 1), width, axis=1)
    return ops.scatter_update(rows, _indices(ops.cast(places, "int32")), ops.reshape(values, (-1,)))


def _indices(places: Any) -> Any:
    """The places of a batch of rows as pairs (row, place)."""
    numbers = ops.expand_dims(ops.arange(ops.shape(places)[0], dtype="int32"), 1)
    return ops.reshape(ops.stack([ops.broadcast_to(numbers, ops.shape(places)), places], axis=2), (-1, 2))
