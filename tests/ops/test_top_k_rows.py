"""Tests of rows that are stored by their largest values."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_reg.ops.top_k_rows import keep_top_k, spread_top_k
from tests.support.tiers import NOT_ON_JAX

ROWS = np.random.default_rng(0).dirichlet(np.full(7, 0.3), size=5)


def spread(rows, k):
    return ops.convert_to_numpy(spread_top_k(*keep_top_k(rows, k), rows.shape[1]))


@NOT_ON_JAX
def test_keep_top_k_keeps_largest_values_and_spreads_rest(floatx):
    rows = ROWS.astype(floatx)
    for k in (1, 2, 5):
        expected = rows.copy()
        for row in expected:
            others = row.argsort()[:-k]
            row[others] = row[others].mean()
        np.testing.assert_allclose(spread(rows, k), expected, rtol=1e-6 if floatx == "float32" else 1e-14)
        values, places, _ = (ops.convert_to_numpy(part) for part in keep_top_k(rows, k))
        np.testing.assert_array_equal(places, (-rows).argsort(axis=1)[:, :k])
        np.testing.assert_array_equal(values, np.take_along_axis(rows, places.astype(int), axis=1))


@NOT_ON_JAX
@pytest.mark.parametrize("k", [6, 7])
def test_keep_top_k_of_nearly_all_classes_is_exact(k):
    np.testing.assert_array_equal(spread(ROWS.astype("float32"), k), ROWS.astype("float32"))


@NOT_ON_JAX
def test_keep_top_k_keeps_each_equal_value_once():
    np.testing.assert_array_equal(spread(np.full((2, 4), 0.25, "float32"), 2), np.full((2, 4), 0.25))
    rows = np.array([[0.5, 0.5, 0.0, 0.0]], "float32")
    np.testing.assert_array_equal(spread(rows, 2), rows)
