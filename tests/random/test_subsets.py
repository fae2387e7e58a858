"""Tests of random subsets: they are disjoint, and have the right sizes and frequencies."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.random.subsets import disjoint_subsets, subset_sizes
from tests.support.tiers import NOT_ON_JAX


def to_numpy(tensor) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def test_subset_sizes_match_simulated_frequencies():
    """Simulates the procedure, which draws both sizes, and draws again while they do not fit."""
    table = subset_sizes(10, (0.2, 0.5), (0.4, 0.7))
    rng, counts = np.random.default_rng(0), {}
    for _ in range(40000):
        pair = 2 + round(3 * rng.uniform()), 4 + round(3 * rng.uniform())
        if sum(pair) <= 10:
            counts[pair] = counts.get(pair, 0) + 1
    assert {(int(a), int(b)) for a, b, _ in table} == set(counts)
    for a, b, probability in table:
        np.testing.assert_allclose(counts[(int(a), int(b))] / sum(counts.values()), probability, atol=0.01)


def test_subset_sizes_of_small_tables_are_at_least_one():
    np.testing.assert_array_equal(subset_sizes(2, (0.2, 0.4), (0.2, 0.4)), [[1, 1, 1]])
    # In floating point, these shares of 100 are 28.999999999999996 and 57.99999999999999.
    assert subset_sizes(100, (0.29, 0.29), (0.58, 0.58))[0].tolist() == [29, 58, 1]
    with pytest.raises(ValueError, match=r"lower the shares.*Received: columns=4"):
        subset_sizes(4, (0.8, 0.9), (0.8, 0.9))


@NOT_ON_JAX
def test_random_subsets_have_targets_outside_of_context():
    sizes, seen = subset_sizes(9, (0.2, 0.5), (0.2, 0.6)), set()
    together = 0
    for seed in range(25):
        context, in_context, targets, in_targets = map(to_numpy, disjoint_subsets(seed, 6, 9, 3, sizes))
        assert context.shape == in_context.shape == (6, 4)
        assert targets.shape == in_targets.shape == (6, 3, 5)
        assert targets.min() >= 0 and targets.max() < 9  # noqa: PT018
        seen.add((in_context[0].sum(), in_targets[0, 0].sum()))
        for row in range(6):
            used = set(context[row][in_context[row]])
            assert len(used) == in_context[0].sum()
            sets = [set(t[v]) for t, v in zip(targets[row], in_targets[row], strict=True)]
            assert all(len(subset) == in_targets[0, 0].sum() and not subset & used for subset in sets)
            together += sets[0] == sets[1] == sets[2]
    assert len(seen) > 5, "the sizes never change"
    assert together < 75, "the target sets of a row are copies of each other"


@NOT_ON_JAX
def test_random_subsets_draw_every_target_column_equally_often():
    sizes = subset_sizes(5, (0.2, 0.4), (0.2, 0.4))
    counts = np.zeros((2, 5))
    for seed in range(30):
        context, in_context, targets, in_targets = map(to_numpy, disjoint_subsets(seed, 50, 5, 2, sizes))
        counts[0] += np.bincount(context[in_context], minlength=5)
        counts[1] += np.bincount(targets[in_targets], minlength=5)
    shares = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(shares, 0.2, atol=0.03)


@NOT_ON_JAX
def test_random_subsets_vary_by_call_and_repeat_by_seed():
    sizes = subset_sizes(9, (0.2, 0.5), (0.2, 0.6))

    def draws():
        generator = keras.random.SeedGenerator(3)
        return [[to_numpy(part) for part in disjoint_subsets(generator, 4, 9, 2, sizes)] for _ in range(2)]

    first, second = draws(), draws()
    for draw, other in zip(first, second, strict=True):
        for a, b in zip(draw, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (first[0][0] != first[1][0]).any()
