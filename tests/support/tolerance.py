"""Tolerances of each backend for golden numbers."""

from __future__ import annotations

import keras


def tolerance(dtype: str, exact_on: tuple[str, ...] = ("tensorflow",)) -> dict[str, float]:
    """Returns arguments of `assert_allclose`. On JAX and PyTorch, Keras computes some functions in float32."""
    if dtype == "float64" and keras.backend.backend() in exact_on:
        return {"rtol": 1e-10, "atol": 1e-12}
    return {"rtol": 1e-5, "atol": 1e-5}
