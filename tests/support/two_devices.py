"""Calls functions in a process that has two devices. It is started once and kept, because starting it takes seconds."""

from __future__ import annotations

import importlib
from typing import Any

import keras

from tests.support.processes import answer, ask
from tests.support.replicas import divide_the_processor


def call_on_two_devices(module: str, function: str, *arguments: str) -> Any:
    """Calls a function in the process that has two devices.

    The function must use `two_replicas` and create no strategy. It must restore the dtype policy and everything that it
    replaces, because the next request runs in the same process.

    Args:
        module: The name of the module that defines the function.
        function: The name of the function.
        *arguments: The arguments of the function.

    Returns:
        The result of the function, after a round trip through JSON.

    Raises:
        AssertionError: If the function raised one.
        RuntimeError: If the function raised another error, or if the process ended.
    """
    return ask("tests.support.two_devices", module, function, *arguments)


def _call(module: str, function: str, *arguments: str) -> Any:
    try:
        return getattr(importlib.import_module(module), function)(*arguments)
    finally:
        if keras.backend.backend() == "jax":  # On JAX, a distribution holds for the whole process.
            keras.distribution.set_distribution(None)


if __name__ == "__main__":
    divide_the_processor()
    answer(_call)
