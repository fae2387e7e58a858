"""Training on several workers: a context in which Keras trains under `tf.distribute.MultiWorkerMirroredStrategy`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_reg._keras import workers


@contextlib.contextmanager
def multi_worker(model: keras.Model) -> Iterator[keras.Model]:
    """Returns a context in which a model trains on several workers of TensorFlow, with Keras's own `fit`.

    Under `tf.distribute.MultiWorkerMirroredStrategy`, the `fit` and `evaluate` of Keras 3 raise. Within this context,
    `fit`, `evaluate` and `predict` work, and the methods of this package train as on one worker.

    Every worker runs the same program with the same seed, `keras.utils.set_random_seed`. With different seeds, workers
    would shuffle the data in different orders. All workers call `ModelCheckpoint`, `BackupAndRestore`, `model.save` and
    `model.save_weights`, and only the first worker writes. Backups must be in a folder that every worker can access.
    `fit` raises if workers begin with different weights.

    The context leaves no permanent change: afterwards, model and strategy are as before. A version of Keras that needs
    no help trains without the context.

    If a worker dies, the others cannot continue. Stop them and start all of them again. `BackupAndRestore` then
    continues from the last epoch, with the state of the callbacks.

    Args:
        model: A `keras.Model`. A compiled model that was created and compiled in the strategy's scope.

    Returns:
        A context manager that yields the model.

    Raises:
        ValueError: If the backend is not TensorFlow, the model is not compiled, or it was created outside the scope of
            a `tf.distribute.MultiWorkerMirroredStrategy`.

    Example:

    ```python
    # Each worker runs the same program with its own `TF_CONFIG`,
    # see examples/two_workers.py.
    def work():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        with strategy.scope():
            model = build_and_compile()
        backup = keras.callbacks.BackupAndRestore("/shared/backup")
        with keras_reg.distribute.multi_worker(model):
            model.fit(x, y, callbacks=[backup])
    ```
    """
    strategy = _get_strategy(model)
    with (
        workers.answer_unsupported_reductions(strategy),
        workers.check_equal_initial_weights(model, strategy),
        workers.write_files_on_first_worker_only(model, strategy),
    ):
        yield model


def _get_strategy(model: Any) -> Any:
    """Returns the strategy of a model.

    Raises:
        ValueError: If the model cannot be trained on several workers.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`multi_worker` is for TensorFlow. On JAX, several machines train with `keras.distribution`. "
            f"Received: the backend {keras.backend.backend()!r}"
        )
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a Keras model. Received: model={model!r}")
    import tensorflow as tf

    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise ValueError(
            "`model` must be created in the scope of a `tf.distribute.MultiWorkerMirroredStrategy`. With any "
            "other strategy, or without one, `multi_worker` is not needed. "
            f"Received: a model of {type(strategy).__name__}"
        )
    if not model.compiled or model.optimizer is None:
        raise ValueError(f"`model` must be compiled in the strategy's scope. Received: {model.name!r}, not compiled")
    outside = [
        variable.path
        for variable in (*model.variables, *model.optimizer.variables)
        if not strategy.extended.variable_created_in_scope(variable.value)
    ]
    if outside:
        raise ValueError(
            "The layers of `model` and its optimizer must also be created in the strategy's scope. "
            f"Received: variables from outside the scope, {outside[:5]}"
        )
    return strategy
