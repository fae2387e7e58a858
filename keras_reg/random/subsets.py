"""Random disjoint subsets of columns, with static shapes so that a step is compiled once for all sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._types import Array, Tensor
from keras_reg.random._uniform import uniform


def subset_sizes(columns: int, context: tuple[float, float], targets: tuple[float, float]) -> Array:
    """Returns the possible sizes of a context and of its target sets, with the probability of each pair.

    A size is min + round((max - min) u) with a uniform u. A pair of sizes that exceeds the number of columns is drawn
    again. This is equivalent to one draw from the pairs that fit. min and max are shares of the columns, rounded down,
    and at least 1.

    Args:
        columns: Integer. The number of columns, at least 2.
        context: Tuple. The smallest and the largest share of the columns in the context, from 0 to 1.
        targets: Tuple. The smallest and the largest share of the columns in each target set, from 0 to 1.

    Returns:
        An array of shape (pairs, 3), with a row for each pair that fits: size of the context, size of the target sets,
        probability.

    Raises:
        ValueError: If even the smallest sets do not fit.

    Example:

    ```python
    subset_sizes(10, (0.2, 0.3), (0.5, 0.5))  # [[2, 5, 0.5], [3, 5, 0.5]]
    ```
    """
    pairs = [
        (first, second, p * q)
        for first, p in _list_sizes(columns, context)
        for second, q in _list_sizes(columns, targets)
        if first + second <= columns
    ]
    if not pairs:
        raise ValueError(
            "The smallest context and the smallest target set have more columns than there are: lower the shares. "
            f"Received: columns={columns}, context={context}, targets={targets}"
        )
    table = np.array(pairs)
    table[:, 2] /= table[:, 2].sum()
    return table


def disjoint_subsets(seed: Any, batch: Any, columns: int, num_targets: int, sizes: Array) -> tuple[Tensor, ...]:
    """Draws, for each row, a random context of columns and several target sets of other columns.

    One pair of sizes is drawn for the whole batch. Sets are padded to their largest size, and padding is marked. The
    target sets of a row are drawn independently of each other and can overlap.

    Args:
        seed: Integer or a `keras.random.SeedGenerator`.
        batch: Integer or scalar tensor. The number of rows.
        columns: Integer. The number of columns.
        num_targets: Integer. The number of target sets of each row.
        sizes: Array. The result of `subset_sizes`.

    Returns:
        A tuple of four tensors:

        - the indices of the context, of shape (batch, largest context)
        - a boolean mask of the same shape, which is False for padding
        - the indices of the target sets, of shape (batch, num_targets, largest target set)
        - a boolean mask of the same shape, which is False for padding

        The indices that are not padding are distinct within a set, and those of target sets are not in the context.
        Padding can be any column.

    Example:

    ```python
    sizes = subset_sizes(10, (0.2, 0.4), (0.2, 0.4))
    context, in_context, targets, in_targets = disjoint_subsets(
        3, 5, 10, 4, sizes
    )
    ```
    """
    largest_context, largest_targets = (int(sizes[:, i].max()) for i in (0, 1))
    draw = uniform((num_targets + 1, batch, columns), seed)
    pick = uniform((1,), _next_seed(seed))
    bounds = ops.convert_to_tensor(np.cumsum(sizes[:-1, 2]).astype("float32"))
    pair = ops.sum(ops.cast(pick >= bounds, "int32"))
    size_context, size_targets = (ops.take(ops.convert_to_tensor(sizes[:, i].astype("int32")), pair) for i in (0, 1))

    order = ops.cast(ops.argsort(draw[0], axis=-1), "int32")
    context = order[:, :largest_context]
    in_context = ops.arange(largest_context, dtype="int32") < size_context
    # The rank of a column in the random order of its row decides whether it is in the context.
    rank = ops.cast(ops.argsort(order, axis=-1), "int32")
    scores = draw[1:] + ops.cast(rank < size_context, "float32")
    targets = ops.cast(ops.argsort(scores, axis=-1), "int32")[:, :, :largest_targets]
    in_targets = ops.arange(largest_targets, dtype="int32") < size_targets
    return (
        context,
        ops.broadcast_to(in_context, ops.shape(context)),
        ops.transpose(targets, (1, 0, 2)),
        ops.broadcast_to(in_targets, (batch, num_targets, largest_targets)),
    )


def _list_sizes(columns: int, shares: tuple[float, float]) -> list[tuple[int, float]]:
    """Returns each size with its probability. Rounding halves the probability of the first and of the last size."""
    # The small number keeps 2.9999999, a rounded 3, from becoming 2.
    least, most = (max(1, int(columns * share + 1e-9)) for share in shares)
    if least == most:
        return [(least, 1.0)]
    steps = most - least
    return [(least + i, (0.5 if i in (0, steps) else 1.0) / steps) for i in range(steps + 1)]


def _next_seed(seed: Any) -> Any:
    """Returns a seed for another draw: the same generator, or the next integer."""
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    return seed + 1
