"""Works around bugs in Keras with several workers.

`tests/distribute/test_multi_worker.py` shows the bugs with Keras alone, and fails once Keras has fixed them.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import pathlib
import tempfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._types import Structure


@contextlib.contextmanager
def answer_unsupported_reductions(strategy: Any) -> Iterator[None]:
    """Answers the two calls of `strategy.reduce` in Keras's trainer that fail with several workers.

    - Before the first step, the trainer asks for the mean of a whole batch. It uses only the shapes and types of the
      result.
    - In each step, the trainer asks for the mean of logs over axis 0, although logs are scalars.
    """
    reduce = strategy.reduce

    def answer(reduce_op: Any, value: Structure, axis: int | None = None) -> Structure:
        if axis is None and keras.tree.is_nested(value):
            return keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], value)
        scalar = strategy.experimental_local_results(value)[0].shape.rank == 0
        return reduce(reduce_op, value, axis=None if scalar else axis)

    with replace_functions(strategy, reduce=answer):
        yield


@contextlib.contextmanager
def write_files_on_first_worker_only(model: keras.Model, strategy: Any) -> Iterator[None]:
    """Makes only the first worker write files, when all workers call `save`, or `fit` with callbacks that save.

    The other workers save to a temporary folder, because saving may have to gather variables of all workers.
    """
    changes = {
        "save": _save_to_temporary_folder(model.save),
        "save_weights": _save_to_temporary_folder(model.save_weights),
        "fit": _change_callbacks(model.fit, lambda callbacks: [_use_own_folder(callback) for callback in callbacks]),
    }
    with replace_functions(model, **({} if _is_first(strategy) else changes)):
        yield


@contextlib.contextmanager
def check_equal_initial_weights(model: keras.Model, strategy: Any) -> Iterator[None]:
    """Makes `fit` raise a `ValueError` if the workers begin with different weights.

    Without this check, each worker would continue with its own weights. Weights differ if a backup is in a folder that
    only some of the workers can access.
    """
    fit = _change_callbacks(model.fit, lambda callbacks: [*callbacks, _WeightCheck(strategy)])
    with replace_functions(model, fit=fit):
        yield


@contextlib.contextmanager
def replace_functions(owner: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Replaces methods of an object while the context is active."""
    own = {name: vars(owner)[name] for name in functions if name in vars(owner)}
    for name, function in functions.items():
        setattr(owner, name, function)
    try:
        yield
    finally:
        for name in functions:
            delattr(owner, name)
        for name, function in own.items():
            setattr(owner, name, function)


def _is_first(strategy: Any) -> bool:
    """Returns True on the worker that writes files: the chief, or worker 0 if there is no chief."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return bool(resolver.task_type == "chief" or (resolver.task_id == 0 and not has_chief))


def _change_callbacks(fit: Callable[..., Any], change: Callable[[list[Any]], list[Any]]) -> Callable[..., Any]:
    """Returns a `fit` that changes its callbacks. A `CallbackList` stays as it is."""

    @functools.wraps(fit)
    def fit_with_callbacks(*arguments: Any, **keywords: Any) -> Any:
        bound = inspect.signature(fit).bind(*arguments, **keywords)
        callbacks = bound.arguments.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            flat = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
            bound.arguments["callbacks"] = change(flat)
        return fit(*bound.args, **bound.kwargs)

    return fit_with_callbacks


def _save_to_temporary_folder(save: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function that saves a model to a folder that is removed afterwards."""

    def save_to_temporary_folder(filepath: Any, *arguments: Any, **keywords: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(pathlib.Path(folder, pathlib.Path(filepath).name), *arguments, **keywords)

    return save_to_temporary_folder


def _use_own_folder(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    return _BackupOfWorker(callback) if isinstance(callback, keras.callbacks.BackupAndRestore) else callback


class _BackupOfWorker(keras.callbacks.BackupAndRestore):
    """Restores from the backup of the first worker, and writes its own backup to a temporary folder.

    Two workers that write the same files and remove the same folder at the end would interfere with each other.
    """

    def __init__(self, backup: keras.callbacks.BackupAndRestore) -> None:
        self._folder = tempfile.TemporaryDirectory()
        super().__init__(pathlib.Path(self._folder.name, "backup").as_posix(), save_freq=backup.save_freq)
        self._first = backup

    def on_train_begin(self, logs: Any = None) -> None:
        self._first.set_params(self.params)
        self._first.set_model(self.model)
        self._first.on_train_begin(logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._folder.cleanup()


class _WeightCheck(keras.callbacks.Callback):
    """Compares the weights of the workers after other callbacks have restored them."""

    def __init__(self, strategy: Any) -> None:
        super().__init__()
        self._strategy = strategy

    def on_train_begin(self, logs: Any = None) -> None:
        import tensorflow as tf

        checksum = 0
        for variable in (*self.model.weights, *self.model.optimizer.variables):
            checksum = zlib.crc32(np.asarray(ops.convert_to_numpy(variable)).tobytes(), checksum)
        own = tf.constant([checksum], "int64")
        gather = lambda: tf.distribute.get_replica_context().all_gather(own, axis=0)  # noqa: E731
        gathered = tf.function(lambda: self._strategy.run(gather))()
        checksums = self._strategy.experimental_local_results(gathered)[0].numpy().tolist()
        if len(set(checksums)) > 1:
            raise ValueError(
                "The workers must begin with the same weights. Keep backups and checkpoints in a folder that all "
                f"workers can access. Received: weights with the checksums {checksums}"
            )
