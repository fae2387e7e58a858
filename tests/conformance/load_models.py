"""Loads models in a process that has imported this package, and writes their predictions."""

from __future__ import annotations

import keras
import numpy as np

from tests.support.processes import answer


def load(data: str, *files: str) -> None:
    """Writes the predictions of the model in each file for the array in `data` to `FILE.npy`."""
    for file in files:
        model = keras.saving.load_model(file)
        np.save(f"{file}.npy", model.predict(np.load(data), verbose=0))


if __name__ == "__main__":
    import keras_reg  # noqa: F401

    answer(load)
