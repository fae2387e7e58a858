"""Private names of TensorFlow that the tests need, with the reason and a test that fails once one is not needed."""

from __future__ import annotations

import gc


def forget_custom_gradients() -> None:
    """Frees the graphs of functions with custom gradients.

    TensorFlow registers each traced `tf.custom_gradient` under a unique name, with its graph, and never removes it. A
    process that runs thousands of tests would keep gigabytes of graphs. There is no public way to empty the registry.
    `tests/test_tensorflow_private.py` fails once TensorFlow no longer does this.
    """
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    traced = [name for name in registry if name.startswith("CustomGradient-")]
    for name in traced:
        del registry[name]
    if traced:
        gc.collect()


def num_custom_gradients() -> int:
    """Returns the number of traced functions with custom gradients that TensorFlow keeps."""
    from tensorflow.python.framework import ops

    return sum(name.startswith("CustomGradient-") for name in ops.gradient_registry._registry)
