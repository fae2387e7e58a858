"""Sample ids for a `keras.utils.PyDataset`."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from keras_reg._types import Array
from keras_reg.data._checks import check_range, count_samples, split_element
from keras_reg.data._input_names import SAMPLE_ID, InputPacker


class NumberedPyDataset(keras.utils.PyDataset):
    """Adds sample ids to the batches of another `keras.utils.PyDataset`.

    Args:
        dataset: A `keras.utils.PyDataset`. The dataset to number.
        packer: An `InputPacker`. The names of the model's inputs.
        start: Integer. The id of the first sample.
        num_samples: Integer. The number of samples, or `None` if it is unknown.

    Raises:
        ValueError: If the ids are unknown, or would exceed `num_samples`.
    """

    def __init__(
        self, dataset: keras.utils.PyDataset, packer: InputPacker, start: int, num_samples: int | None
    ) -> None:
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.packer = packer
        self.start = start
        self.limit = num_samples
        self.batch_size: int | None = None
        if not hasattr(dataset, "sample_ids"):
            self._prepare_counting()

    def _prepare_counting(self) -> None:
        name = type(self.dataset).__name__
        if self.num_batches is None:
            raise ValueError(
                f"The samples of an infinite dataset cannot be counted. Add a method `sample_ids(index)` to {name} "
                "that returns the ids of the samples in a batch. Received: num_batches=None"
            )
        if self.num_batches < 1:
            raise ValueError(f"The dataset has no batches to number. Received: {self.dataset!r}")
        for method in ("on_epoch_begin", "on_epoch_end"):
            if getattr(type(self.dataset), method) is not getattr(keras.utils.PyDataset, method):
                warnings.warn(
                    f"{name} has a method `{method}`. If that method changes the order of the samples, the ids refer "
                    "to the wrong samples, and a method that remembers samples learns wrong values. Add a method "
                    "`sample_ids(index)` that returns the ids of the samples in a batch.",
                    stacklevel=4,
                )
        self.batch_size = self._pack(0)[1]
        check_range(self.start, self.start + (self.num_batches - 1) * self.batch_size + 1, self.limit)

    @property
    def num_batches(self) -> int | None:
        """Returns the number of batches of the numbered dataset, or `None` if it is infinite."""
        batches: int | None = self.dataset.num_batches
        return batches

    def __getitem__(self, index: int) -> Any:
        """Returns a batch with the ids of its samples."""
        packed, size, rest = self._pack(index)
        ids = self._get_ids(index, size)
        check_range(int(ids.min()), int(ids.max()) + 1, self.limit)
        return ({**packed, SAMPLE_ID: ids.astype(np.int32)}, *rest)

    def _pack(self, index: int) -> tuple[dict[str, Any], int, tuple[Any, ...]]:
        batch = self.dataset[index]
        x, rest = split_element(tuple(batch) if isinstance(batch, list) else batch)
        packed = self.packer.pack(x)
        return packed, count_samples(packed), rest

    def _get_ids(self, index: int, size: int) -> Array:
        if self.batch_size is None:
            ids = np.asarray(self.dataset.sample_ids(index))
            if ids.shape != (size,) or not np.issubdtype(ids.dtype, np.integer) or ids.min() < 0:
                raise ValueError(
                    f"`sample_ids({index})` of {type(self.dataset).__name__} must return one integer of at least 0 for "
                    f"each of the {size} samples of that batch. Received: shape {ids.shape}, dtype {ids.dtype}"
                )
            return ids
        if size > self.batch_size:
            raise ValueError(
                f"Batch {index} has {size} samples, more than batch 0 with {self.batch_size}, so ids would "
                f"collide. Add a method `sample_ids(index)` to the dataset, or use batches of one size. Received: "
                f"{type(self.dataset).__name__}"
            )
        return self.start + index * self.batch_size + np.arange(size)

    def on_epoch_begin(self) -> None:
        """Calls `on_epoch_begin` of the numbered dataset."""
        self.dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Calls `on_epoch_end` of the numbered dataset."""
        self.dataset.on_epoch_end()
