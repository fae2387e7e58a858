"""What one replica must know of the others, for every room. Everything is the identity where there is one replica.

On JAX a distribution shows the program the global batch, so nothing has to be gathered there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_reg._keras.call_stack import frames


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """The strategy scope in which variables for `model` must be created."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    return model.distribute_strategy.scope()  # type: ignore[no-any-return]


def num_replicas() -> int:
    """The number of replicas that share a training step (1 outside `tf.distribute`)."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def all_gather(tensor: Any) -> Any:
    """Joins the batches of all replicas along axis 0, in replica order; the same result on every replica.

    Gradients of all replicas flow back to each of them.
    """
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    with replicas_share_the_losses_of_layers():
        return tensor if context is None else context.all_gather(tensor, axis=0)


def mean_over_replicas(tensor: Any) -> Any:
    """The mean of a tensor over all replicas; the same result on every replica."""
    return _reduce(tensor, "MEAN")


def sum_over_replicas(tensor: Any) -> Any:
    """The sum of a tensor over all replicas; the same result on every replica."""
    return _reduce(tensor, "SUM")


def _reduce(tensor: Any, operation: str) -> Any:
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    with replicas_share_the_losses_of_layers():
        return tensor if context is None else context.all_reduce(tf.distribute.ReduceOp[operation], tensor)


def own_part(tensor: Any, size: Any) -> Any:
    """Returns this replica's `size` rows of a tensor that is the same on every replica, in replica order."""
    if num_replicas() == 1:
        return tensor
    import tensorflow as tf

    start = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, "int32") * size
    return tensor[start : start + size]


def replicated_variable(
    value: Any = None, *, shape: tuple[int, ...] | None = None, dtype: Any, name: str, **arguments: Any
) -> keras.Variable:
    """Returns a variable of which every replica has a copy, and to which all replicas assign the same value.

    Args:
        value: The initial value. Defaults to zeros of `shape`.
        shape: The shape, if there is no initial value.
        dtype: The data type.
        name: The name of the variable.
        **arguments: More arguments of `keras.Variable`.
    """
    return keras.Variable(
        "zeros" if value is None else value,
        shape=shape,
        dtype=dtype,
        trainable=False,
        # All copies are equal, so that any one of them is the value: nothing is exchanged when it is written or read.
        aggregation="only_first_replica",
        synchronization="on_read",
        name=name,
        **arguments,
    )


def assign(variable: keras.Variable, value: Any) -> None:
    """Gives a variable with an aggregation its value, from inside of a layer's call."""
    with replicas_share_the_losses_of_layers():
        variable.assign(value)


@contextlib.contextmanager
def replicas_share_the_losses_of_layers() -> Iterator[None]:
    """Keeps what layers have added to the loss of this replica, where the other replicas take their turns.

    A fault of Keras: the replicas of a strategy are threads that take turns where they exchange something, but a layer
    has one list of losses for all of them, which is emptied when a replica calls the model. A replica would train
    with the losses of another one, and log them twice. `tests/_keras/test_keras_faults.py` shows it.
    """
    layers = [] if num_replicas() == 1 else _layers_in_call()
    own = [list(layer._losses) for layer in layers]
    yield
    for layer, losses in zip(layers, own, strict=True):
        layer._losses[:] = losses


def _layers_in_call() -> list[keras.layers.Layer]:
    """The layers of the model that is called or trained: it stands highest on the stack of this replica's thread."""
    called = None
    for frame in frames():
        owner = frame.f_locals.get("self")
        called = owner if isinstance(owner, keras.layers.Layer) else called
    return [] if called is None else called._flatten_layers()
