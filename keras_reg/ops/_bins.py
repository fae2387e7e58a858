"""Sums of samples in bins, and the area under the risk-coverage curve of groups of samples."""

from __future__ import annotations

from keras import ops

from keras_reg._types import Array, Tensor


def sum_in_bins(values: Tensor, edges: Array, columns: list[Tensor], weights: Tensor | None) -> Tensor:
    """Sums the columns in bins (lower, upper] of the values, shape (num_bins, num_columns).

    Args:
        values: The value that puts each sample in a bin, shape (batch,).
        edges: The inner edges of the bins.
        columns: The columns, each of shape (batch,).
        weights: The number of times that each sample counts, shape (batch,). `None` means once.
    """
    rows = ops.stack(columns, axis=-1)
    if weights is not None:
        weights = ops.expand_dims(ops.cast(match_shapes(weights, values, "weights")[0], rows.dtype), -1)
        rows = ops.where(weights == 0.0, 0.0, weights * rows)  # Otherwise 0 * NaN would be NaN.
    # Comparing with the edges is exact. Rounding up the product with the number of bins is not.
    index = ops.searchsorted(ops.convert_to_tensor(edges, dtype=values.dtype), values, side="left")
    return ops.segment_sum(rows, index, num_segments=len(edges) + 1)


def match_shapes(first: Tensor, second: Tensor, name: str = "confidence") -> tuple[Tensor, Tensor]:
    """Returns two arrays as floating-point tensors of one type, or raises `ValueError` if their shapes differ."""
    first, second = convert_to_float(first), ops.convert_to_tensor(second)
    differ = any(None not in pair and pair[0] != pair[1] for pair in zip(first.shape, second.shape, strict=False))
    if differ or len(first.shape) != len(second.shape):
        shapes = f"{tuple(first.shape)} for samples of shape {tuple(second.shape)}"
        raise ValueError(f"`{name}` must have one entry for each sample. Received: shape {shapes}")
    return first, ops.cast(second, first.dtype)


def convert_to_float(values: Tensor) -> Tensor:
    """Converts to a float32 tensor, or keeps float64. Sums in float16 stop growing at 2048."""
    tensor = ops.convert_to_tensor(values)
    return tensor if "float64" in str(tensor.dtype) else ops.cast(tensor, "float32")


def area_of_groups(count: Tensor, wrong: Tensor) -> Tensor:
    """Computes the area under the risk-coverage curve for groups of equal confidence, the most confident first.

    Let a group begin after n samples, of which e are wrong. Its expected risk at rank k is (e + rate (k - n)) / k. The
    sum over the group, with harmonic numbers H, is wrong + (e - rate n) (H(n + count) - H(n)).

    Args:
        count: The number of samples in each group.
        wrong: The number of wrong samples in each group.
    """
    before, wrong_before = ops.cumsum(count) - count, ops.cumsum(wrong) - wrong
    rate = ops.divide_no_nan(wrong, count)
    return ops.divide_no_nan(
        ops.sum(wrong + (wrong_before - rate * before) * _harmonic_difference(before, count)), ops.sum(count)
    )


def _harmonic_difference(start: Tensor, length: Tensor) -> Tensor:
    """Computes H(start + length) - H(start) for harmonic numbers H, without cancellation, also for fractions.

    The first six terms are added one by one. The asymptotic series of the digamma function yields the rest. The error
    is below 1e-9.
    """
    x, y = start + 1.0, start + 1.0 + length
    terms = [length / ((x + i) * (y + i)) for i in range(6)]
    x, y = 1.0 / (x + 6.0), 1.0 / (y + 6.0)
    series = sum(factor * (x**power - y**power) for factor, power in ((1 / 12, 2), (-1 / 120, 4), (1 / 252, 6)))
    return sum(terms) + ops.log1p(length * x) + 0.5 * length * x * y + series
