"""Random disjoint subsets of columns with static shapes, so that a step is compiled once whatever the sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.random._uniform import uniform


def subset_sizes(columns: int, context: tuple[float, float], targets: tuple[float, float]) -> np.ndarray:
    """The sizes that a context and its target sets can have, and how often each pair comes.

    A size is min + round((max - min) u) with u uniform, and a pair is drawn again while it has more columns than there
    are: the same as one draw from the pairs that fit. min and max are shares of the columns, rounded down, at least 1.

    Args:
        columns: The number of columns, at least 2.
        context: The least and the largest share of columns in the context, 0 to 1.
        targets: The same for each target set.

    Returns:
        One row for each pair that fits: size of the context, size of the targets, probability. Shape (pairs, 3).

    Raises:
        ValueError: If not even the smallest sets fit.

    Example:

    ```python
    subset_sizes(10, (0.2, 0.3), (0.5, 0.5))  # [[2, 5, 0.5], [3, 5, 0.5]]
    ```
    """
    pairs = [
        (first, second, p * q)
        for first, p in _sizes(columns, context)
        for second, q in _sizes(columns, targets)
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


def disjoint_subsets(seed: Any, batch: Any, columns: int, num_targets: int, sizes: np.ndarray) -> tuple[Any, ...]:
    """For each row a random context of columns, and several target sets of other columns.

    One pair of sizes is drawn for the batch. Sets are filled up to their largest size; what only fills up is marked.
    Target sets of a row are drawn independently of each other, and may overlap.

    Args:
        seed: An integer, or a `keras.random.SeedGenerator`.
        batch: The number of rows; may be symbolic.
        columns: The number of columns.
        num_targets: The number of target sets of each row.
        sizes: What `subset_sizes` gave.

    Returns:
        Indices of the context, shape (batch, largest context); which of them count, same shape; indices of the targets,
        shape (batch, num_targets, largest target set); which of them count. Those which count are distinct in a set,
        and targets are not in the context; the others are any columns.

    Example:

    ```python
    sizes = subset_sizes(10, (0.2, 0.4), (0.2, 0.4))
    context, in_context, targets, in_targets = disjoint_subsets(3, 5, 10, 4, sizes)
    ```
    """
    largest_context, largest_targets = (int(sizes[:, i].max()) for i in (0, 1))
    draw = uniform((num_targets + 1, batch, columns), seed)
    pick = uniform((1,), _another(seed))
    bounds = ops.convert_to_tensor(np.cumsum(sizes[:-1, 2]).astype("float32"))
    pair = ops.sum(ops.cast(pick >= bounds, "int32"))
    size_context, size_targets = (ops.take(ops.convert_to_tensor(sizes[:, i].astype("int32")), pair) for i in (0, 1))

    order = ops.cast(ops.argsort(draw[0], axis=-1), "int32")
    context = order[:, :largest_context]
    in_context = ops.arange(largest_context, dtype="int32") < size_context
    # How early each column comes in the row's order says whether it is in the context.
    place = ops.cast(ops.argsort(order, axis=-1), "int32")
    scores = draw[1:] + ops.cast(place < size_context, "float32")
    targets = ops.cast(ops.argsort(scores, axis=-1), "int32")[:, :, :largest_targets]
    in_targets = ops.arange(largest_targets, dtype="int32") < size_targets
    return (
        context,
        ops.broadcast_to(in_context, ops.shape(context)),
        ops.transpose(targets, (1, 0, 2)),
        ops.broadcast_to(in_targets, (batch, num_targets, largest_targets)),
    )


def _sizes(columns: int, shares: tuple[float, float]) -> list[tuple[int, float]]:
    """Each size with its probability: rounding gives the first and the last half as much as those between."""
    # Rounded down, but not from 2.9999999 to 2.
    least, most = (max(1, int(columns * share + 1e-9)) for share in shares)
    if least == most:
        return [(least, 1.0)]
    steps = most - least
    return [(least + i, (0.5 if i in (0, steps) else 1.0) / steps) for i in range(steps + 1)]


def _another(seed: Any) -> Any:
    """A seed other than the given one, of the same kind."""
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    return seed + 1
