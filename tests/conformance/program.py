"""Holds rules for cases in this process: see `ask`."""

from __future__ import annotations

import warnings

import keras

from tests.support.processes import answer
from tests.support.replicas import divide_the_processor


def hold(rule: str, case: str) -> None:
    from tests.conformance import broken, rules

    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
    try:
        rules.load_all()[rule].function(broken.find(case))
    finally:
        if keras.backend.backend() == "jax":  # where it holds for the whole process
            keras.distribution.set_distribution(None)


if __name__ == "__main__":
    divide_the_processor()
    answer(hold)
