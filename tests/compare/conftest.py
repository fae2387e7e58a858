"""The job clears Keras itself before each run; doing so after every little test would take most of the time."""

import keras
import pytest


@pytest.fixture(autouse=True)
def seeds():
    keras.utils.set_random_seed(0)
