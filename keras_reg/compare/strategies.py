"""The distribution strategy of a comparison: none, or the replicas of a TensorFlow strategy."""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

import keras

from keras_reg.compare.errors import InputError, format_error


def scope(strategy: str) -> Any:
    """Returns the context in which models are built and trained.

    Args:
        strategy: `"none"` or `"mirrored"`.

    Returns:
        A context manager.

    Raises:
        InputError: If the backend or the machine does not support the strategy.
    """
    return contextlib.nullcontext() if strategy == "none" else _get_mirrored().scope()


@functools.lru_cache(maxsize=1)
def _get_mirrored() -> Any:
    """Returns the `tf.distribute.MirroredStrategy` of this process. A second strategy in the process would fail."""
    if keras.backend.backend() != "tensorflow":
        raise InputError(f"--strategy mirrored needs the tensorflow backend; the backend is {keras.backend.backend()}")
    tf = importlib.import_module("tensorflow")
    try:
        if tf.config.list_physical_devices("GPU"):
            return tf.distribute.MirroredStrategy()
        cpu = tf.config.list_physical_devices("CPU")[0]
        if len(tf.config.get_logical_device_configuration(cpu) or ()) < 2:
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        return tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    except (RuntimeError, ValueError) as error:
        raise InputError(f"TensorFlow cannot set up two replicas in this process: {format_error(error)}") from error
