"""Callbacks that keep something for every training sample, found again by the sample id in `x`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.storage import Storage
from keras_reg._warnings import NoEffectWarning
from keras_reg.data.sample_ids import SAMPLE_ID
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training.callback import ObjectiveCallback
from keras_reg.training.terms import Batch


def sample_ids(x: Any) -> Any:
    """The sample ids of a batch, shape (batch,), int32.

    Raises:
        ValueError: If `x` has no ids, or they are not integers.
    """
    if x is None:
        raise ValueError(
            "This method needs the inputs with their sample ids: let the model's own `train_step` give them to "
            "`self.compute_loss(x=x, y=y, y_pred=y_pred)`. Received: x=None"
        )
    if not isinstance(x, dict) or SAMPLE_ID not in x:
        received = f"a dict with the keys {sorted(x)}" if isinstance(x, dict) else f"{type(x).__name__}"
        raise ValueError(
            f"This method needs to know which sample is which, but `x` has no {SAMPLE_ID!r}. Give `fit` "
            f"`keras_reg.data.with_sample_ids(model, x)` instead of `x`. Received: x is {received}"
        )
    ids = x[SAMPLE_ID]
    dtype = keras.backend.standardize_dtype(ids.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise ValueError(f"Sample ids must be integers, best int32. Received: {SAMPLE_ID!r} of dtype {dtype}")
    if len(ids.shape) > 1 and any(size != 1 for size in ids.shape[1:]):
        raise ValueError(f"There must be one sample id per sample. Received: {SAMPLE_ID!r} of shape {tuple(ids.shape)}")
    return ops.cast(ops.reshape(ids, (-1,)), "int32")


def fingerprint(labels: Any) -> Any:
    """A number that changes when a sample's label does, shape (batch, 1), int32. Integer arithmetic: exact anywhere."""
    sizes = tuple(labels.shape[1:])  # before reshaping, after which TensorFlow may not know them
    if None in sizes:
        raise ValueError(
            "`check_ids` needs labels whose shape is known but for the batch: pad them to one length. "
            f"Received: labels of shape {tuple(labels.shape)}"
        )
    width = int(np.prod(sizes))
    labels = ops.reshape(labels, (-1, width))
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(labels.dtype)):
        labels = ops.round(labels * 2.0**16)
    labels = ops.cast(labels, "int32")
    factors = np.random.default_rng(0).integers(1, 2**20, width, dtype=np.int32) * 2 + 1
    return ops.sum(labels * ops.convert_to_tensor(factors), axis=1, keepdims=True)


def check_num_classes(num_classes: Any) -> None:
    """Raises unless this is a number of classes.

    Raises:
        ValueError: If it is no integer, or below 2.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or num_classes < 2:
        raise ValueError(
            "`num_classes` must be an integer of at least 2; give a binary classifier two outputs. "
            f"Received: num_classes={num_classes!r}"
        )


class PerSampleCallback(ObjectiveCallback):
    """Base of the callbacks that keep a row per training sample.

    Args:
        num_samples: The number of training samples; their ids run from 0 to `num_samples - 1`. `None` for a method
            that in its present setting keeps nothing.
        output: The name of the output to work on, for a model with several.
        check_ids: Whether to remember each sample's label and raise at the first one that changes.
        save_memory: Whether checkpoints that are written during `fit` hold the memory.
        storage: How rows are stored: `None`, the name of a type, a `Storage`, or a dict of its arguments.
    """

    def __init__(
        self,
        num_samples: int | None,
        *,
        output: str | None = None,
        check_ids: bool = False,
        save_memory: bool = True,
        storage: str | Storage | dict[str, Any] | None = None,
    ) -> None:
        super().__init__(save_memory=save_memory)
        if num_samples is not None and (
            isinstance(num_samples, bool) or not isinstance(num_samples, (int, np.integer)) or num_samples < 1
        ):
            raise ValueError(
                "`num_samples` must be the number of training samples, a positive integer. "
                f"Received: num_samples={num_samples!r}"
            )
        self.num_samples = num_samples
        self.storage = storage
        self.row_storage = Storage.from_argument(storage)
        self.output = output
        self.check_ids = check_ids
        self.check_every_step = check_ids
        self.table: PerSampleMemory
        self._labels: PerSampleMemory | None = None
        self._changed: PerSampleMemory | None = None

    def stored_as(self) -> Any:
        """The argument `storage` as `get_config` gives it."""
        return dataclasses.asdict(self.storage) if isinstance(self.storage, Storage) else self.storage

    @property
    def memory(self) -> PerSampleMemory:
        """The table of the method, with a row per training sample.

        Raises:
            ValueError: Before the first `fit`.
        """
        # Reading the model brings its variables up to date on JAX, and the table's with them.
        if self.model is None or not self.state or self.num_samples is None:
            raise ValueError(f"There is nothing to read yet: give this {type(self).__name__} to `fit` first.")
        return self.table

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """Makes the table. Called once, in the strategy scope."""
        raise ValueError(f"{type(self).__name__} must define `create_memory`.")

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Makes the table, and the one that remembers labels."""
        if self.num_samples is None:
            return []
        self.table = self.create_memory(model, self.num_samples)
        if not self.check_ids:
            return [self.table]
        self._labels = PerSampleMemory(self.num_samples, 1, "int32", name="labels")
        self._changed = PerSampleMemory(self.num_samples, 1, "int32", name="changed_labels")
        return [self.table, self._labels, self._changed]

    def check_model(self, model: keras.Model) -> None:
        """Raises if the model cannot be trained with rows that are stored so."""
        self.row_storage.check_model(model)

    def prefetch(self, ids: Any) -> None:
        """Reads rows of coming batches from the disk ahead of their step, where `storage` has a `file`.

        It does not wait for the disk, and does nothing without a file, or before `fit` has begun. Call it where
        batches are made ahead, as in the `__getitem__` of a `keras.utils.PyDataset` with workers.

        Args:
            ids: Sample ids, NumPy or a list.
        """
        if self.state and self.num_samples is not None:
            self.table.prefetch(ids)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on; what an earlier `fit` was stopped for is forgiven."""
        super().on_train_begin(logs)
        if self.num_samples is None:
            return
        self.table.out_of_range.assign(0)
        if self._changed is not None:
            self._changed.visited.assign(np.zeros(self._changed.visited.shape, "bool"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch, on a table that is there for it."""
        super().on_epoch_begin(epoch, logs)
        if self.num_samples is None:
            return
        try:
            self.table.begin()
        except ValueError:
            self.detach()
            raise

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off, and says so if it had nothing to work on."""
        if self.num_samples is not None and not self.memory.numpy_visited().any():
            warnings.warn(
                f"No training sample had an id from 0 to num_samples - 1: {type(self).__name__} did nothing.",
                NoEffectWarning,
                stacklevel=2,
            )
        super().on_train_end(logs)

    def rewrite_targets(self, batch: Batch) -> Any:
        """Leaves the targets alone; compares them with those seen before, if asked to."""
        if self._labels is not None and self._changed is not None:
            ids = sample_ids(batch.x)
            labels = select_output(batch.labels, self.output, output_names(model_without_update(self)), "the labels")
            now = fingerprint(labels)
            before, seen = self._labels.read(ids, "int32")
            changed = ops.logical_and(seen, before[:, 0] != now[:, 0])
            self._changed.write(ops.where(changed, ids, -1), ops.ones_like(now))
            self._labels.write(ops.where(seen, -1, ids), now)
        return batch.y

    def select(self, batch: Batch) -> tuple[Any, Any, Any]:
        """The sample ids, and the predictions and sample weights of the output that the method works on."""
        names = output_names(model_without_update(self))
        return (
            sample_ids(batch.x),
            select_output(batch.y_pred, self.output, names, "the predictions"),
            select_output(batch.sample_weight, self.output, names, "the sample weights"),
        )

    def check_state(self, read: Callable[[keras.Variable], Any]) -> None:
        """Raises if ids were out of range, or changed their meaning."""
        if self.num_samples is None:
            return
        largest = int(read(self.table.out_of_range))
        if largest:
            raise ValueError(
                f"Sample ids must be below `num_samples`. Received: a sample id {largest} with "
                f"num_samples={self.num_samples}. Samples with such ids were left out of the method so far."
            )
        if self._changed is not None:
            changed = np.flatnonzero(read(self._changed.visited)[: self.num_samples])
            if changed.size:
                raise ValueError(
                    "Sample ids changed their meaning: a sample's label is not what it was when its id came first. "
                    "Number samples before they are shuffled or augmented, not after, and leave labels unmixed. "
                    f"Received: another label for sample id {changed[0]}, {changed.size} samples so far."
                )
