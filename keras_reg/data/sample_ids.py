"""Sample ids, which `with_sample_ids` adds to the data as one more key of `x`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_reg._validation import check_boolean, check_integer
from keras_reg.data._checks import check_range, count_samples
from keras_reg.data._input_names import SAMPLE_ID, make_packer, silence_single_input_dict_warning
from keras_reg.data._py_dataset import NumberedPyDataset
from keras_reg.data._tf_dataset import is_batched, is_tf_dataset, number_tf_dataset
from keras_reg.data.adapter import SampleIdAdapter, accept_sample_ids

__all__ = ["SAMPLE_ID", "SampleIdAdapter", "accept_sample_ids", "with_sample_ids"]


def with_sample_ids(
    model: keras.Model, x: Any, *, start: int = 0, num_samples: int | None = None, batched: bool | None = None
) -> Any:
    """Numbers the samples of a training set, for methods that remember something about each sample.

    The ids are in `x` under the extra key `"sample_id"` (int32). The model takes its inputs from the dictionary by name
    and ignores the ids. A callback that needs the ids reads them. Labels, validation data, `evaluate` and `predict`
    do not change.

    An id must belong to the same sample in every epoch. Number the data **before** anything that reorders, repeats,
    drops or shards them: `with_sample_ids(model, dataset).shuffle(1000).batch(32)`. A dataset that is already shuffled,
    or that is read in a varying order, gets wrong ids without any error. (`fit(shuffle=True)` on arrays is correct,
    because it shuffles the ids with the data.)

    - Arrays (or a list, tuple or dictionary of arrays) become a dictionary `{input name: array, "sample_id": ids}`.
    - A `tf.data.Dataset` becomes a dataset with such a dictionary for `x`. Its elements are `x`, `(x,)`, `(x, y)` or
      `(x, y, sample_weight)`, of samples or of batches.
    - A `keras.utils.PyDataset` is wrapped. Batch `index` gets the ids `start + index * batch_size + (0, 1, ...)`. Here
      `batch_size` is the length of batch 0. **A dataset that reorders its samples in `on_epoch_end` must have
      a method `sample_ids(index)`**, which returns the ids of the samples in that batch. These ids are used unchanged.

    Args:
        model: A `keras.Model`. The model to fit. It must pick its inputs by name, as Sequential and Functional models
            do. Pass other models through `accept_sample_ids` first.
        x: Array, structure of arrays, or dataset. The inputs, or a dataset, as `fit` takes them. Pass the labels of
            arrays to `fit` as usual.
        start: Integer. The id of the first sample. Defaults to `0`.
        num_samples: Integer. The limit of the ids, which is the `num_samples` of the callback. Ids of this number or
            more raise an error. An infinite `tf.data.Dataset` needs it, because its ids start again from 0 at this
            number. That is correct only if exactly `num_samples` samples are repeated in a fixed order. Batches may
            extend across the end. Defaults to `None`, which means no limit.
        batched: Boolean. Whether the elements of a `tf.data.Dataset` are batches. Defaults to `None`, which compares
            their shape with the model's input. Pass it if the shapes are ambiguous.

    Returns:
        The same data with ids: a dictionary of arrays, a `tf.data.Dataset` or a `keras.utils.PyDataset`.

    Raises:
        ValueError: If the model would not ignore the ids, is not built, or has an input called `"sample_id"`. If `x`
            does not fit the inputs of the model, is empty, or is of an unknown kind (such as a generator). If its
            samples cannot be numbered, or another argument is out of range.

    Example:

    ```python
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1), name="image"),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    # x is {"image": images, "sample_id": 0 ... n-1}
    x = keras_reg.data.with_sample_ids(model, images)
    model.fit(x, labels, validation_data=(val_images, val_labels))
    ```
    """
    start = check_integer("start", start, at_least=0)
    num_samples = check_integer("num_samples", num_samples, optional=True)
    batched = check_boolean("batched", batched, optional=True)
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be the `keras.Model` to fit. Received: {model!r} ({type(model).__name__})")
    packer = model.input_packer() if isinstance(model, SampleIdAdapter) else make_packer(model)
    if not isinstance(model, SampleIdAdapter):
        silence_single_input_dict_warning(packer)
    if is_tf_dataset(x):
        batched = is_batched(x, packer) if batched is None else batched
        return number_tf_dataset(x, packer, start, num_samples, batched)
    if batched is not None:
        raise ValueError(
            f"`batched` applies only to a `tf.data.Dataset`. Received: batched={batched} and {type(x).__name__}"
        )
    if isinstance(x, keras.utils.PyDataset):
        return NumberedPyDataset(x, packer, start, num_samples)
    packed = packer.pack(x)
    length = count_samples(packed)
    check_range(start, start + length, num_samples)
    return {**packed, SAMPLE_ID: np.arange(start, start + length, dtype=np.int32)}
