"""`with_sample_ids`: the number of each sample, carried beside the data as one more key of `x`."""

from __future__ import annotations

import operator
from typing import Any

import keras
import numpy as np

from keras_reg.data._checks import check_range, common_length
from keras_reg.data._input_names import SAMPLE_ID, packer_of, silence_single_input_dict_warning
from keras_reg.data._py_dataset import NumberedPyDataset
from keras_reg.data._tf_dataset import is_batched, is_tf_dataset, number_tf_dataset
from keras_reg.data.adapter import SampleIdAdapter, accept_sample_ids

__all__ = ["SAMPLE_ID", "SampleIdAdapter", "accept_sample_ids", "with_sample_ids"]


def with_sample_ids(
    model: keras.Model, x: Any, start: int = 0, num_samples: int | None = None, batched: bool | None = None
) -> Any:
    """Numbers the samples of a training set, for methods that remember something about each of them.

    The ids ride in `x` under the extra key `"sample_id"` (int32). The model takes its own inputs out of the
    dictionary by name and ignores the ids; a callback that needs them finds them. Labels, validation data,
    `evaluate` and `predict` stay as they are.

    An id must mean the same sample in every epoch. So number the data **before** anything that reorders, repeats,
    drops or shards them: `with_sample_ids(model, dataset).shuffle(1000).batch(32)`. A data set that is shuffled
    already, or read in an order that varies, is numbered wrongly without any sign of it. (`fit(shuffle=True)` on
    arrays is fine, because the ids are shuffled along.)

    - Arrays (or a list, tuple or dictionary of them) become a dictionary `{input name: array, "sample_id": ids}`.
    - A `tf.data.Dataset` with elements `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`, of samples or of batches,
      becomes one with such a dictionary for `x`.
    - A `keras.utils.PyDataset` is wrapped. Batch `index` gets the ids `start + index * batch_size + (0, 1, ...)`,
      where `batch_size` is the length of batch 0. **A data set that reorders its samples in `on_epoch_end` must have
      a method `sample_ids(index)`** which returns the ids of the samples in that batch; those are used as they are.

    Args:
        model: The model that will be fitted. It must pick its inputs by name, as Sequential and Functional models
            do; for any other call `accept_sample_ids` first.
        x: The inputs, or a data set, as `fit` takes them. Labels for arrays are given to `fit` as ever.
        start: The id of the first sample.
        num_samples: The number of samples that the ids may count, as the callback is told it; ids beyond it are an
            error. For an infinite `tf.data.Dataset` it is needed: the ids start again from 0 at this number, which is
            right only for a data set of exactly `num_samples` samples that is repeated in a fixed order (batches may
            reach across the end).
        batched: Whether the elements of a `tf.data.Dataset` are batches. Found out by comparing their shape with the
            model's input; needed only where that does not tell.

    Returns:
        The same data with ids: a dictionary of arrays, a `tf.data.Dataset` or a `keras.utils.PyDataset`.

    Raises:
        ValueError: If the model would not ignore the ids, is not built, or has an input called `"sample_id"`; if `x`
            does not fit the inputs of the model, is empty, is of an unknown kind (such as a generator), or if its
            samples cannot be numbered.

    Example:
    ```python
    model = keras.Sequential([keras.Input((28, 28, 1), name="image"), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = keras_reg.data.with_sample_ids(model, images)  # {"image": images, "sample_id": 0 ... n-1}
    model.fit(x, labels, validation_data=(val_images, val_labels))
    ```
    """
    start, num_samples = _check_numbers(start, num_samples)
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be the `keras.Model` to fit. Received: {model!r} ({type(model).__name__})")
    packer = model.input_packer() if isinstance(model, SampleIdAdapter) else packer_of(model)
    if not isinstance(model, SampleIdAdapter):
        silence_single_input_dict_warning(packer)
    if is_tf_dataset(x):
        batched = is_batched(x, packer) if batched is None else bool(batched)
        return number_tf_dataset(x, packer, start, num_samples, batched)
    if batched is not None:
        raise ValueError(f"`batched` is for a `tf.data.Dataset`. Received: batched={batched} and {type(x).__name__}")
    if isinstance(x, keras.utils.PyDataset):
        return NumberedPyDataset(x, packer, start, num_samples)
    packed = packer.pack(x)
    length = common_length(packed)
    check_range(start, start + length, num_samples)
    return {**packed, SAMPLE_ID: np.arange(start, start + length, dtype=np.int32)}


def _check_numbers(start: Any, num_samples: Any) -> tuple[int, int | None]:
    if _is_not_integer(start) or start < 0:
        raise ValueError(f"`start` must be an integer, 0 or more. Received: start={start!r}")
    if num_samples is not None and (_is_not_integer(num_samples) or num_samples < 1):
        raise ValueError(f"`num_samples` must be `None` or an integer above 0. Received: num_samples={num_samples!r}")
    return operator.index(start), None if num_samples is None else operator.index(num_samples)


def _is_not_integer(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer))
