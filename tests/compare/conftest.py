"""Seeds Keras before each test. A comparison clears the session itself, and clearing it after each test is slow."""

import keras
import pytest


@pytest.fixture(autouse=True)
def seeds():
    keras.utils.set_random_seed(0)
