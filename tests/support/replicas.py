"""Two CPU devices as two replicas, on TensorFlow and JAX. See `tests/support/two_devices.py`."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import keras


def divide_the_processor() -> None:
    """Gives TensorFlow two logical CPU devices. Call it before anything uses TensorFlow. JAX uses a flag instead."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        device = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(device, [tf.config.LogicalDeviceConfiguration()] * 2)


def two_replicas() -> contextlib.AbstractContextManager[Any]:
    """Makes two CPU devices share each batch: the first gets the first half, the second gets the rest.

    On TensorFlow, this holds within the scope. On JAX, it holds until the distribution is set again.
    """
    if keras.backend.backend() == "tensorflow":
        return _strategy().scope()
    devices = keras.distribution.list_devices()
    assert len(devices) == 2, devices
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return contextlib.nullcontext()


@functools.cache
def _strategy() -> Any:
    """Returns the strategy of this process. Two strategies in one process would wait for each other forever."""
    import tensorflow as tf

    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2, devices
    return tf.distribute.MirroredStrategy(devices)
