"""Sample ids for a `tf.data.Dataset`."""

from __future__ import annotations

import sys
from typing import Any

import keras

from keras_reg.data._checks import INT32_LIMIT, check_range, split_element
from keras_reg.data._input_names import SAMPLE_ID, InputPacker


def is_tf_dataset(x: Any) -> bool:
    """Says whether `x` is a `tf.data.Dataset`, without importing TensorFlow: whoever made one has imported it."""
    tensorflow = sys.modules.get("tensorflow")
    dataset = getattr(getattr(tensorflow, "data", None), "Dataset", None)
    return dataset is not None and isinstance(x, dataset)


def number_tf_dataset(dataset: Any, packer: InputPacker, start: int, num_samples: int | None, batched: bool) -> Any:
    """Returns a `tf.data.Dataset` whose `x` is a dictionary that holds the sample ids too.

    Args:
        dataset: The data set, with elements `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        packer: How the data of the model are named.
        start: The id of the first sample.
        num_samples: The number of samples there are, or `None` if unknown. An infinite data set starts again at
            this number.
        batched: Whether each element is a batch.

    Returns:
        The numbered data set.

    Raises:
        ValueError: If the data set is infinite and `num_samples` is not given, or if it is longer than that.
    """
    import tensorflow as tf

    packer.pack(split_element(dataset.element_spec)[0])  # wrong keys are an error here, not in the middle of `map`
    infinite = _check_cardinality(dataset, start, num_samples, batched, tf)
    limit = INT32_LIMIT if num_samples is None else num_samples

    def bounded(ids: Any) -> Any:
        if infinite:
            return tf.cast(ids % limit, tf.int32)
        # How long a data set really is may show only now, and an id that is too large would be lost in silence.
        message = f"There are more samples than num_samples={limit}. Number a data set before `repeat()`."
        with tf.control_dependencies([tf.debugging.assert_less(ids, tf.cast(limit, tf.int64), message)]):
            return tf.cast(ids, tf.int32)

    def number(ids: Any, element: Any) -> Any:
        x, rest = split_element(element)
        numbered = {**packer.pack(x), SAMPLE_ID: bounded(ids)}
        return (numbered, *rest) if isinstance(element, tuple) else numbered

    def number_batch(first: Any, element: Any) -> Any:
        after = first + tf.cast(tf.shape(_first_dense(element, tf))[0], tf.int64)
        ids = tf.range(first, after)
        return (after % limit if infinite else after), number(ids, element)

    # Plain Python, called once each: there is nothing here for AutoGraph to rewrite.
    plain = tf.autograph.experimental.do_not_convert
    if batched:
        return dataset.scan(tf.constant(start, tf.int64), plain(number_batch))
    return dataset.enumerate(start).map(plain(number))


def is_batched(dataset: Any, packer: InputPacker) -> bool:
    """Says whether the elements of a `tf.data.Dataset` are batches, from their shape and that of the model's input.

    Args:
        dataset: The data set.
        packer: How the data of the model are named, and their shapes.

    Returns:
        `True` for batches, `False` for single samples.

    Raises:
        ValueError: If the shapes do not tell.
    """
    x, rest = split_element(dataset.element_spec)
    packed = packer.pack(x)
    for key, wanted in packer.shapes.items():
        rank = getattr(getattr(packed[key], "shape", None), "rank", None)
        if rank in (len(wanted), len(wanted) - 1):
            shape, batched = tuple(packed[key].shape), rank == len(wanted)
            sample = shape[1:] if batched else shape
            if all(a == b or a is None or b is None for a, b in zip(sample, wanted[1:], strict=True)):
                return bool(batched)
        break  # the first input decides
    else:
        # A model that does not know its inputs: a number has no room for a batch, an open first axis is nothing else.
        shapes = [getattr(leaf, "shape", None) for leaf in keras.tree.flatten((x, rest))]
        ranks = [getattr(shape, "rank", None) for shape in shapes]
        if 0 in ranks:
            return False
        if all(shape is not None and rank and shape[0] is None for rank, shape in zip(ranks, shapes, strict=True)):
            return True
    raise ValueError(
        "Whether the elements of the data set are batches or single samples cannot be seen from their shapes: say so "
        f"with `batched=True` or `batched=False`. Received: {dataset.element_spec}, for a model whose inputs have the "
        f"shapes {packer.shapes or 'unknown'}"
    )


def _check_cardinality(dataset: Any, start: int, num_samples: int | None, batched: bool, tf: Any) -> bool:
    """Says whether a data set is infinite, and raises `ValueError` if it is known to be too long for its ids."""
    cardinality = int(dataset.cardinality())
    infinite = cardinality == tf.data.INFINITE_CARDINALITY
    if infinite and num_samples is None:
        raise ValueError(
            "An infinite data set never ends counting. Call `with_sample_ids` before `repeat()`, or, if it repeats "
            "its samples in a fixed order, say how many there are with `num_samples`. Received: num_samples=None"
        )
    size = _first_dense(dataset.element_spec, tf).shape[0] if batched else 1
    if cardinality >= 0 and size is not None:
        check_range(start, start + cardinality * size, num_samples)
    return bool(infinite)


def _first_dense(element: Any, tf: Any) -> Any:
    """Returns the first ordinary tensor of an element (or of its specification), which tells the batch size."""
    for leaf in keras.tree.flatten(element):
        if isinstance(leaf, (tf.Tensor, tf.TensorSpec)):
            return leaf
    raise ValueError(f"A data set of batches needs at least one dense tensor. Received: {element}")
