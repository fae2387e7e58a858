"""Private names of TensorFlow that the tests need, each with the reason and what tells when it is no longer needed."""

from __future__ import annotations

import gc


def forget_custom_gradients() -> None:
    """Frees the graphs of functions with custom gradients.

    TensorFlow registers each traced `tf.custom_gradient` under a name of its own, with its graph, and never removes it.
    A process that runs thousands of tests would keep gigabytes. There is no public way to empty the registry.
    `tests/test_tensorflow_private.py` fails once TensorFlow registers nothing any more.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    traced = [name for name in registry if name.startswith("CustomGradient-")]
    for name in traced:
        del registry[name]
    if traced:
        gc.collect()


def num_custom_gradients() -> int:
    """Returns how many traced functions with custom gradients TensorFlow keeps."""
    from tensorflow.python.framework import ops

    return sum(name.startswith("CustomGradient-") for name in ops.gradient_registry._registry)
