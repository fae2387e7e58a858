"""The base class of callbacks that keep a row for every training sample, which the sample id in `x` identifies."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras.callback_model import model_without_update, updated_model
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.storage import Storage
from keras_reg._validation import check_boolean, check_integer, check_string, is_integer, reject
from keras_reg._warnings import NoEffectWarning
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._sample_ids import fingerprint, sample_ids
from keras_reg.training.callback import ObjectiveCallback
from keras_reg.training.terms import Batch


def check_num_classes(num_classes: Any) -> int:
    """Checks the argument `num_classes`, and returns it.

    Raises:
        ValueError: If it is not an integer of at least 2.
    """
    if not is_integer(num_classes) or num_classes < 2:
        reject("num_classes", num_classes, "must be an integer of at least 2; give a binary classifier two outputs")
    return int(num_classes)


class PerSampleCallback(ObjectiveCallback):
    """Base class of callbacks that keep a row for every training sample.

    A subclass overrides `create_memory`, and reads and writes `memory` in `terms` or in the other hooks of
    `keras_reg.training.ObjectiveCallback`. The model is trained on data with sample ids, from
    `keras_reg.data.with_sample_ids`.

    Args:
        num_samples: Integer. The number of training samples. Their ids run from 0 to `num_samples - 1`. `None` if the
            method stores nothing in its current configuration.
        output: String. The name of the output to work on, for a model with several outputs. Defaults to `None`.
        check_ids: Boolean. Whether to remember the label of each sample, and to raise an error at the first label that
            changes. Defaults to `False`.
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the memory. Defaults to `True`.
        storage: How rows are stored: the name of a data type, a `keras_reg.callbacks.Storage`, or a dictionary of its
            arguments. Defaults to `None`, which stores float32 in memory.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    class PredictionDrift(keras_reg.training.PerSampleCallback):
        diagnostic_names = ("drift",)

        def create_memory(self, model, num_samples):
            return self.row_storage.create(num_samples, 10, "means")

        def terms(self, batch):
            ids, logits, weight = self.select(batch)
            now = keras.ops.softmax(keras.ops.cast(logits, "float32"))
            before, seen = self.memory.read(ids)
            self.memory.write(ids, 0.9 * before + 0.1 * now)
            drift = keras.ops.sum(keras.ops.abs(now - before), axis=-1)
            drift = keras.ops.where(seen, drift, 0.0)
            return {"drift": (drift, weight)}


    model = keras_reg.data.accept_sample_ids(model)
    x = keras_reg.data.with_sample_ids(model, x)
    model.fit(x, y, callbacks=[PredictionDrift(len(y))])
    ```
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
        self.num_samples = check_integer("num_samples", num_samples, optional=True)
        self.storage = storage
        self.row_storage = Storage.from_argument(storage)
        self.output = check_string("output", output, optional=True)
        self.check_ids = check_boolean("check_ids", check_ids)
        self.check_every_step = self.check_ids
        self._table: PerSampleMemory
        self._labels: PerSampleMemory | None = None
        self._changed: PerSampleMemory | None = None

    def stored_as(self) -> Any:
        """Returns the argument `storage` in the form that `get_config` contains."""
        return dataclasses.asdict(self.storage) if isinstance(self.storage, Storage) else self.storage

    @property
    def memory(self) -> PerSampleMemory:
        """Returns the table of the method, with one row per training sample.

        Hooks of the step read and write it by sample id. Between steps, `numpy()` returns all rows.

        Raises:
            ValueError: Before the first `fit`.
        """
        if not self.state or self.num_samples is None:
            raise ValueError(f"There is nothing to read yet. Pass this {type(self).__name__} to `fit` first.")
        if not self.in_step:
            updated_model(self)
        return self._table

    def create_memory(self, model: keras.Model, num_samples: int) -> PerSampleMemory:
        """Creates the table. It is called once, in the strategy scope. Every subclass overrides it.

        Args:
            model: The compiled model.
            num_samples: Integer. The number of rows.

        Returns:
            A `PerSampleMemory`, such as `self.row_storage.create(num_samples, width, name)`.
        """
        raise ValueError(f"{type(self).__name__} must define `create_memory`.")

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the table, and the tables for labels if `check_ids` is true."""
        if self.num_samples is None:
            return []
        self._table = self.create_memory(model, self.num_samples)
        if not self.check_ids:
            return [self._table]
        self._labels = PerSampleMemory(self.num_samples, 1, "int32", name="labels")
        self._changed = PerSampleMemory(self.num_samples, 1, "int32", name="changed_labels")
        return [self._table, self._labels, self._changed]

    def check_model(self, model: keras.Model) -> None:
        """Raises a `ValueError` if the model cannot be trained with this storage."""
        self.row_storage.check_model(model)

    def prefetch(self, ids: Any) -> None:
        """Reads rows of upcoming batches from the disk before their step, if `storage` has a `file`.

        It does not wait for the disk. It is a no-op without a file, or before `fit` has begun. Call it where batches
        are prepared, for example in the `__getitem__` of a `keras.utils.PyDataset` with workers.

        Args:
            ids: Sample ids, a NumPy array or a list.
        """
        if self.state and self.num_samples is not None:
            self._table.prefetch(ids)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on, and clears records of bad input from an earlier `fit`."""
        super().on_train_begin(logs)
        if self.num_samples is None:
            return
        self._table.out_of_range.assign(0)
        if self._changed is not None:
            self._changed.visited.assign(np.zeros(self._changed.visited.shape, "bool"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch, after checking that the table is usable."""
        super().on_epoch_begin(epoch, logs)
        if self.num_samples is None:
            return
        try:
            self._table.begin()
        except ValueError:
            self.detach()
            raise

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off, and warns if no sample had a valid id."""
        if self.num_samples is not None and not self.memory.numpy_visited().any():
            warnings.warn(
                f"No training sample had an id from 0 to num_samples - 1. {type(self).__name__} had no effect.",
                NoEffectWarning,
                stacklevel=2,
            )
        super().on_train_end(logs)

    def rewrite_targets(self, batch: Batch) -> Any:
        """Returns the targets unchanged. Compares them with earlier ones if `check_ids` is true."""
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
        """Returns the sample ids, and the predictions and sample weights of the output that the method works on."""
        names = output_names(model_without_update(self))
        return (
            sample_ids(batch.x),
            select_output(batch.y_pred, self.output, names, "the predictions"),
            select_output(batch.sample_weight, self.output, names, "the sample weights"),
        )

    def check_state(self, read: Callable[[keras.Variable], Any]) -> None:
        """Raises a `ValueError` if ids were out of range or changed their meaning."""
        if self.num_samples is None:
            return
        largest = int(read(self._table.out_of_range))
        if largest:
            raise ValueError(
                f"Sample ids must be below `num_samples`. Received: a sample id {largest} with "
                f"num_samples={self.num_samples}. The method has ignored samples with such ids."
            )
        if self._changed is not None:
            changed = np.flatnonzero(read(self._changed.visited)[: self.num_samples])
            if changed.size:
                raise ValueError(
                    "Sample ids changed their meaning: the label of a sample differs from the first label with its id. "
                    "Number samples before they are shuffled or augmented, and do not mix labels. "
                    f"Received: a different label for sample id {changed[0]}, {changed.size} samples so far."
                )
