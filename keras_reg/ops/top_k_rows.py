"""Stores rows of many numbers in few: the largest values with their places, and the mean of all others.

This method is not from a paper. It stores the tables of methods whose rows per sample do not fit into memory. A row of
class probabilities mostly consists of a few large numbers.
"""

from __future__ import annotations

from keras import ops

from keras_reg._types import Tensor


def keep_top_k(rows: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the `k` largest values of each row, their places, and the mean of the rest, which preserve the row's sum.

    Args:
        rows: Tensor. Rows of shape (batch, width).
        k: Integer. The number of values to keep, 1 to `width`.

    Returns:
        values: The largest values, in descending order, shape (batch, k).
        places: Their places in the row, shape (batch, k), int32.
        rest: The mean of the other values, shape (batch,), or zeros if there are none.

    Example:

    ```python
    rows = np.array([[0.1, 0.7, 0.2]])
    values, places, rest = keep_top_k(rows, 1)  # [[0.7]], [[1]], [0.15]
    ```
    """
    rows = ops.convert_to_tensor(rows)
    values, places = ops.top_k(rows, k)
    places = ops.cast(places, "int32")
    width = int(rows.shape[1])
    # The other values are summed directly, so that a single other value is kept exactly. The difference between the
    # row's sum and the kept values would be rounded.
    others = ops.scatter_update(rows, _pair_with_rows(places), ops.reshape(ops.zeros_like(values), (-1,)))
    return values, places, ops.sum(others, axis=1) / max(width - k, 1)


def spread_top_k(values: Tensor, places: Tensor, rest: Tensor, width: int) -> Tensor:
    """Rebuilds the rows that `keep_top_k` has stored, with the rest spread uniformly.

    If k is `width` or one less, the rows are exact. Otherwise the kept values and the sum of a row are.

    Args:
        values: Tensor. The kept values, shape (batch, k).
        places: Tensor. Their places, shape (batch, k), integers.
        rest: Tensor. The value of every other place, shape (batch,).
        width: Integer. The length of a row.

    Returns:
        Rows, shape (batch, width), in the type of `values`.

    Example:

    ```python
    values, places = np.array([[0.7]]), np.array([[1]])
    rows = spread_top_k(values, places, np.array([0.15]), 3)
    rows  # [[0.15, 0.7, 0.15]]
    ```
    """
    values = ops.convert_to_tensor(values)
    rest = ops.cast(rest, values.dtype)
    rows = ops.repeat(ops.expand_dims(rest, 1), width, axis=1)
    return ops.scatter_update(rows, _pair_with_rows(ops.cast(places, "int32")), ops.reshape(values, (-1,)))


def _pair_with_rows(places: Tensor) -> Tensor:
    """Converts the places of a batch of rows to pairs (row, place)."""
    numbers = ops.expand_dims(ops.arange(ops.shape(places)[0], dtype="int32"), 1)
    return ops.reshape(ops.stack([ops.broadcast_to(numbers, ops.shape(places)), places], axis=2), (-1, 2))
