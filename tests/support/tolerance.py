"""How near to golden numbers each backend comes."""

from __future__ import annotations

import keras


def tolerance(dtype: str, exact_on: tuple[str, ...] = ("tensorflow",)) -> dict[str, float]:
    """For `assert_allclose`. Keras computes some functions of float64 in float32, except on TensorFlow."""
    if dtype == "float64" and keras.backend.backend() in exact_on:
        return {"rtol": 1e-10, "atol": 1e-12}
    return {"rtol": 1e-5, "atol": 1e-5}
