"""Data types that follow from Keras's configuration."""

from __future__ import annotations

import keras


def compute_dtype() -> str:
    """Returns the data type that loss terms are computed in: float64 if it is Keras's default, else float32."""
    return "float64" if keras.config.floatx() == "float64" else "float32"
