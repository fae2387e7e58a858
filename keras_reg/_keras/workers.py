"""Faults of Keras with several workers: each is one function, named after the fault.

`tests/distribute/test_multi_worker.py` shows each fault with plain Keras and fails once Keras has mended it.
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


@contextlib.contextmanager
def trainer_reduces_batches_and_scalars_over_axis_0(strategy: Any) -> Iterator[None]:
    """Answers the two calls of `strategy.reduce` in Keras's trainer that several workers cannot answer.

    Before the first step the trainer asks for the mean of a whole batch, a structure, of which it only wants shapes
    and types. In each step it asks for the mean over axis 0 of logs, which are scalars.
    """
    reduce = strategy.reduce

    def answering(reduce_op: Any, value: Any, axis: int | None = None) -> Any:
        if axis is None and keras.tree.is_nested(value):
            return keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], value)
        scalar = strategy.experimental_local_results(value)[0].shape.rank == 0
        return reduce(reduce_op, value, axis=None if scalar else axis)

    with replaced(strategy, reduce=answering):
        yield


@contextlib.contextmanager
def every_worker_writes_the_same_files(model: keras.Model, strategy: Any) -> Iterator[None]:
    """Lets the first worker alone write files, where all of them call `save`, and `fit` with callbacks that save.

    The others save too, for saving may bring variables of the workers together, but to a folder that is removed.
    """
    changes = {
        "save": _to_nowhere(model.save),
        "save_weights": _to_nowhere(model.save_weights),
        "fit": _with_callbacks(model.fit, lambda callbacks: [_own_files(callback) for callback in callbacks]),
    }
    with replaced(model, **({} if _is_first(strategy) else changes)):
        yield


@contextlib.contextmanager
def workers_start_from_different_weights(model: keras.Model, strategy: Any) -> Iterator[None]:
    """Stops a `fit` whose workers hold different weights: they would train on, each with its own.

    It happens where a backup is in a folder that only some of the workers see.
    """
    with replaced(model, fit=_with_callbacks(model.fit, lambda callbacks: [*callbacks, _SameStart(strategy)])):
        yield


@contextlib.contextmanager
def replaced(owner: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Puts functions on an object, for a time."""
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
    """Whether this worker is the one that writes files: the chief, or where there is none the worker 0."""
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return True
    has_chief = "chief" in resolver.cluster_spec().jobs
    return bool(resolver.task_type == "chief" or (resolver.task_id == 0 and not has_chief))


def _with_callbacks(fit: Callable[..., Any], change: Callable[[list[Any]], list[Any]]) -> Callable[..., Any]:
    """A `fit` whose callbacks are changed; a `CallbackList` is left as it is."""

    @functools.wraps(fit)
    def fit_with_callbacks(*arguments: Any, **keywords: Any) -> Any:
        bound = inspect.signature(fit).bind(*arguments, **keywords)
        callbacks = bound.arguments.get("callbacks")
        if not isinstance(callbacks, keras.callbacks.CallbackList):
            given = [callback for callback in keras.tree.flatten(callbacks) if callback is not None]
            bound.arguments["callbacks"] = change(given)
        return fit(*bound.args, **bound.kwargs)

    return fit_with_callbacks


def _to_nowhere(save: Callable[..., Any]) -> Callable[..., Any]:
    """A function that saves a model, with a path that leads into a folder that is removed."""

    def save_to_nowhere(filepath: Any, *arguments: Any, **keywords: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            save(pathlib.Path(folder, pathlib.Path(filepath).name), *arguments, **keywords)

    return save_to_nowhere


def _own_files(callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
    return _Restores(callback) if isinstance(callback, keras.callbacks.BackupAndRestore) else callback


class _Restores(keras.callbacks.BackupAndRestore):
    """Restores from the backup of the first worker, and keeps another one in a folder of its own.

    Two workers that write the same small files, and remove the same folder at the end, would hinder each other.
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


class _SameStart(keras.callbacks.Callback):
    """Compares the weights of the workers, after other callbacks have restored them."""

    def __init__(self, strategy: Any) -> None:
        super().__init__()
        self._strategy = strategy

    def on_train_begin(self, logs: Any = None) -> None:
        import tensorflow as tf

        mine = 0
        for variable in (*self.model.weights, *self.model.optimizer.variables):
            mine = zlib.crc32(np.asarray(ops.convert_to_numpy(variable)).tobytes(), mine)
        own = tf.constant([mine], "int64")
        gather = lambda: tf.distribute.get_replica_context().all_gather(own, axis=0)  # noqa: E731
        gathered = tf.function(lambda: self._strategy.run(gather))()
        all_of_them = self._strategy.experimental_local_results(gathered)[0].numpy()
        if len(set(all_of_them.tolist())) > 1:
            raise ValueError(
                "The workers must begin with the same weights: keep backups and checkpoints in a folder that all of "
                f"them see. Received: weights with the checksums {all_of_them.tolist()}"
            )
