"""Communication between the replicas of `tf.distribute`. With one replica, every function is the identity.

On JAX, a program under a distribution sees the global batch, so nothing has to be gathered.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_reg._keras.call_stack import frames
from keras_reg._types import DType, Tensor


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """Returns the strategy scope in which variables for `model` must be created."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()  # type: ignore[no-any-return]


def num_replicas() -> int:
    """Returns the number of replicas that share a training step. It is 1 outside of `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def all_gather(tensor: Tensor) -> Tensor:
    """Concatenates the batches of all replicas along axis 0, in replica order. All replicas get the same result.

    Gradients of all replicas flow back to each replica.
    """
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    with keep_layer_losses_of_replica():
        return tensor if context is None else context.all_gather(tensor, axis=0)


def mean_over_replicas(tensor: Tensor) -> Tensor:
    """Returns the mean of a tensor over all replicas. All replicas get the same result."""
    return _reduce(tensor, "MEAN")


def sum_over_replicas(tensor: Tensor) -> Tensor:
    """Returns the sum of a tensor over all replicas. All replicas get the same result."""
    return _reduce(tensor, "SUM")


def _reduce(tensor: Tensor, operation: str) -> Tensor:
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    with keep_layer_losses_of_replica():
        return tensor if context is None else context.all_reduce(tf.distribute.ReduceOp[operation], tensor)


def own_part(tensor: Tensor, size: Tensor) -> Tensor:
    """Returns the `size` rows of this replica from a tensor that is equal on all replicas.

    The rows are in replica order.
    """
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    start = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    return tensor[start : start + size]


def replicated_variable(
    value: Tensor = None, *, shape: tuple[int, ...] | None = None, dtype: DType, name: str, **arguments: Any
) -> keras.Variable:
    """Returns a variable that has a copy on every replica. All replicas assign the same value to it.

    Args:
        value: Tensor. The initial value. Defaults to zeros of `shape`.
        shape: Tuple. The shape, if there is no initial value. Defaults to `None`.
        dtype: The data type.
        name: String. The name of the variable.
        **arguments: More arguments of `keras.Variable`.
    """
    return keras.Variable(
        "zeros" if value is None else value,
        shape=shape,
        dtype=dtype,
        trainable=False,
        # All copies are equal, so replicas can read and write any copy without communication.
        aggregation="only_first_replica",
        synchronization="on_read",
        name=name,
        **arguments,
    )


def assign(variable: keras.Variable, value: Tensor) -> None:
    """Assigns a value to a variable with an aggregation, inside of a layer's call."""
    with keep_layer_losses_of_replica():
        variable.assign(value)


@contextlib.contextmanager
def keep_layer_losses_of_replica() -> Iterator[None]:
    """Keeps the losses that layers have added on this replica, while other replicas run.

    This works around a bug in Keras. The replicas of a strategy are threads that take turns when they communicate. A
    layer has one list of losses for all threads, and each replica clears this list when it calls the model. A replica
    would therefore train with the losses of another replica, and log them twice. `tests/_keras/test_keras_faults.py`
    shows the fault.
    """
    layers = [] if num_replicas() == 1 else _find_running_layers()
    losses_of_layers = [list(layer._losses) for layer in layers]
    yield
    for layer, losses in zip(layers, losses_of_layers, strict=True):
        layer._losses[:] = losses


def _find_running_layers() -> list[keras.layers.Layer]:
    """Returns the layers of the model that is called or trained.

    This model is the outermost layer on the call stack of this replica's thread.
    """
    called = None
    for frame in frames():
        owner = frame.f_locals.get("self")
        called = owner if isinstance(owner, keras.layers.Layer) else called
    return [] if called is None else called._flatten_layers()
