"""Several workers: a context in which Keras trains under `tf.distribute.MultiWorkerMirroredStrategy`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_reg._keras import workers


@contextlib.contextmanager
def multi_worker(model: keras.Model) -> Iterator[keras.Model]:
    """A context in which a model trains on several workers of TensorFlow, with Keras's own `fit`.

    Under `tf.distribute.MultiWorkerMirroredStrategy` the `fit` and `evaluate` of Keras 3 raise. Within this context
    they work, `predict` too, and the methods of this package train as on one worker. Every worker runs the same program
    with the same seed, `keras.utils.set_random_seed`: with another one, data would be shuffled in another order.
    `ModelCheckpoint`, `BackupAndRestore`, `model.save` and `model.save_weights` are called on all of them, and the
    first worker alone writes. Backups must be in a folder that every worker sees: `fit` raises if workers begin with
    different weights.

    It is a context, and no function that changes the model for good, so that afterwards model and strategy are what
    they were, and a Keras that needs no help trains without the line.

    If a worker dies, the others cannot go on: end them, start all of them again, and `BackupAndRestore` goes on from
    the last epoch, with the state of the callbacks.

    Args:
        model: A compiled model that was made, and compiled, in the strategy's scope.

    Returns:
        A context manager; it gives the model.

    Raises:
        ValueError: If the backend is not TensorFlow, the model is not compiled, or it was made outside of the scope of
            a `tf.distribute.MultiWorkerMirroredStrategy`.

    Example:

    ```python
    def work():  # the same on each worker, with its own `TF_CONFIG`: see examples/two_workers.py
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        with strategy.scope():
            model = build_and_compile()
        with keras_reg.distribute.multi_worker(model):
            model.fit(x, y, callbacks=[keras.callbacks.BackupAndRestore("/shared/backup")])
    ```
    """
    strategy = _strategy_of(model)
    with (
        workers.trainer_reduces_batches_and_scalars_over_axis_0(strategy),
        workers.workers_start_from_different_weights(model, strategy),
        workers.every_worker_writes_the_same_files(model, strategy),
    ):
        yield model


def _strategy_of(model: Any) -> Any:
    """The strategy of a model; a `ValueError` where it cannot be trained on several workers."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`multi_worker` is for TensorFlow; on JAX several machines train with `keras.distribution`. "
            f"Received: the backend {keras.backend.backend()!r}"
        )
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: model={model!r}")
    import tensorflow as tf

    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "`model` must be made in the scope of a `tf.distribute.MultiWorkerMirroredStrategy`. Under another "
            f"strategy, and without any, Keras needs no help. Received: a model of {type(strategy).__name__}"
        )
    if not model.compiled or model.optimizer is None:
        raise ValueError(f"`model` must be compiled, in the strategy's scope. Received: {model.name!r}, not compiled")
    outside = [
        variable.path
        for variable in (*model.variables, *model.optimizer.variables)
        if not strategy.extended.variable_created_in_scope(variable.value)
    ]
    if outside:
        raise ValueError(
            "The layers of `model`, and its optimizer, must be made in the strategy's scope too. "
            f"Received: variables that were made outside of it: {outside[:5]}"
        )
    return strategy
