"""Loads models in a process that imports this package before, and writes what they predict."""

from __future__ import annotations

import keras
import numpy as np

from tests.support.processes import answer


def load(data: str, *files: str) -> None:
    """Writes to `FILE.npy` what the model in each file predicts for the array in `data`."""
    for file in files:
        model = keras.saving.load_model(file)
        np.save(f"{file}.npy", model.predict(np.load(data), verbose=0))


if __name__ == "__main__":
    import keras_reg  # noqa: F401

    answer(load)
