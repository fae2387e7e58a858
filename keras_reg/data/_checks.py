"""Checks datasets whose samples are about to be numbered."""

from __future__ import annotations

from typing import Any

import keras

from keras_reg._types import Structure

INT32_LIMIT = 2**31


def split_element(element: Any) -> tuple[Any, tuple[Any, ...]]:
    """Splits `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)` into `x` and the rest.

    Raises:
        ValueError: If the element is a tuple of any other length.
    """
    if not isinstance(element, tuple):
        return element, ()
    if not 1 <= len(element) <= 3:
        raise ValueError(
            "Each element of a dataset must be `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`. Received: a tuple of "
            f"{len(element)}"
        )
    return element[0], element[1:]


def check_range(start: int, stop: int, num_samples: int | None) -> None:
    """Raises `ValueError` unless the ids `start ... stop - 1` are below `num_samples` and fit into int32."""
    if num_samples is not None and stop > num_samples:
        raise ValueError(
            f"The ids must be below `num_samples`, but they would range from {start} to {stop - 1}. Increase "
            f"`num_samples`, or number a dataset before `repeat()`. Received: num_samples={num_samples}"
        )
    if stop > INT32_LIMIT:
        raise ValueError(f"Sample ids are int32 and end at {INT32_LIMIT - 1}. Received: ids up to {stop - 1}")


def count_samples(packed: dict[str, Structure]) -> int:
    """Returns the number of samples in a dictionary of arrays.

    Args:
        packed: Dictionary. Arrays, or nested structures of arrays.

    Returns:
        The length of the first axis, which all arrays must share.

    Raises:
        ValueError: If the dictionary is empty or holds something other than arrays, or if the lengths differ.
    """
    leaves = keras.tree.flatten(packed)
    for leaf in leaves:
        shape = getattr(leaf, "shape", None)
        if isinstance(leaf, (str, bytes, keras.KerasTensor)) or not hasattr(leaf, "__getitem__") or shape is None:
            raise ValueError(
                "`x` must be an array, a list, tuple or dictionary of arrays, a `tf.data.Dataset` or a "
                f"`keras.utils.PyDataset`. Received: {type(leaf).__name__}"
            )
        if len(shape) == 0:
            raise ValueError("An array without axes has no samples to number. Received: an array of shape ()")
    lengths = sorted({int(leaf.shape[0]) for leaf in leaves})
    if len(lengths) > 1:
        raise ValueError(f"All arrays must have the same number of samples. Received: {lengths}")
    if not lengths or lengths[0] == 0:
        raise ValueError(f"`x` has no samples to number. Received: lengths {lengths}")
    return lengths[0]
