"""Sample ids for a `tf.data.Dataset`."""

from __future__ import annotations

import sys
from typing import Any

import keras

from keras_reg._types import Structure, Tensor
from keras_reg.data._checks import INT32_LIMIT, check_range, split_element
from keras_reg.data._input_names import SAMPLE_ID, InputPacker


def is_tf_dataset(x: Any) -> bool:
    """Returns True for a `tf.data.Dataset`, without importing TensorFlow.

    If such a dataset exists, TensorFlow is already imported.
    """
    tensorflow = sys.modules.get("tensorflow")
    dataset = getattr(getattr(tensorflow, "data", None), "Dataset", None)
    return dataset is not None and isinstance(x, dataset)


def number_tf_dataset(dataset: Any, packer: InputPacker, start: int, num_samples: int | None, batched: bool) -> Any:
    """Returns a `tf.data.Dataset` whose `x` is a dictionary that also holds the sample ids.

    Args:
        dataset: A `tf.data.Dataset`, with elements `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
        packer: An `InputPacker`. The names of the model's inputs.
        start: Integer. The id of the first sample.
        num_samples: Integer. The number of samples, or `None` if it is unknown. The ids of an infinite dataset start
            again at 0 after this number.
        batched: Boolean. Whether each element is a batch.

    Returns:
        The numbered dataset.

    Raises:
        ValueError: If the dataset is infinite and `num_samples` is `None`, or if it has more samples than that.
    """
    import tensorflow as tf

    packer.pack(split_element(dataset.element_spec)[0])  # Wrong keys raise here and not inside `map`.
    infinite = _check_cardinality(dataset, start, num_samples, batched, tf)
    limit = INT32_LIMIT if num_samples is None else num_samples

    def limit_ids(ids: Tensor) -> Tensor:
        if infinite:
            return tf.cast(ids % limit, tf.int32)
        # The length of a dataset may become known only here. Otherwise, ids that are too large would be dropped
        # silently.
        message = f"There are more samples than num_samples={limit}. Number a dataset before `repeat()`."
        with tf.control_dependencies([tf.debugging.assert_less(ids, tf.cast(limit, tf.int64), message)]):
            return tf.cast(ids, tf.int32)

    def number_element(ids: Tensor, element: Structure) -> Structure:
        x, rest = split_element(element)
        numbered = {**packer.pack(x), SAMPLE_ID: limit_ids(ids)}
        return (numbered, *rest) if isinstance(element, tuple) else numbered

    def number_batch(first: Tensor, element: Structure) -> tuple[Tensor, Structure]:
        after = first + tf.cast(tf.shape(_find_dense_tensor(element, tf))[0], tf.int64)
        ids = tf.range(first, after)
        return (after % limit if infinite else after), number_element(ids, element)

    # Each function is called once and has no control flow that depends on tensors, so AutoGraph must not rewrite it.
    without_autograph = tf.autograph.experimental.do_not_convert
    if batched:
        return dataset.scan(tf.constant(start, tf.int64), without_autograph(number_batch))
    return dataset.enumerate(start).map(without_autograph(number_element))


def is_batched(dataset: Any, packer: InputPacker) -> bool:
    """Returns True if the elements of a `tf.data.Dataset` are batches. Compares shapes with the model's input.

    Args:
        dataset: A `tf.data.Dataset`.
        packer: An `InputPacker`. The names and shapes of the model's inputs.

    Returns:
        `True` for batches, `False` for single samples.

    Raises:
        ValueError: If the shapes are ambiguous.
    """
    x, rest = split_element(dataset.element_spec)
    packed = packer.pack(x)
    for key, expected in packer.shapes.items():
        rank = getattr(getattr(packed[key], "shape", None), "rank", None)
        if rank in (len(expected), len(expected) - 1):
            shape, batched = tuple(packed[key].shape), rank == len(expected)
            sample = shape[1:] if batched else shape
            if all(a == b or a is None or b is None for a, b in zip(sample, expected[1:], strict=True)):
                return bool(batched)
        break  # Only the first input is compared.
    else:
        # The model does not know its inputs. A scalar is a single sample, and an unknown first axis is a batch.
        shapes = [getattr(leaf, "shape", None) for leaf in keras.tree.flatten((x, rest))]
        ranks = [getattr(shape, "rank", None) for shape in shapes]
        if 0 in ranks:
            return False
        if all(shape is not None and rank and shape[0] is None for rank, shape in zip(ranks, shapes, strict=True)):
            return True
    raise ValueError(
        "The shapes do not show whether the elements of the dataset are batches or single samples. Pass "
        f"`batched=True` or `batched=False`. Received: {dataset.element_spec}, for a model whose inputs have the "
        f"shapes {packer.shapes or 'unknown'}"
    )


def _check_cardinality(dataset: Any, start: int, num_samples: int | None, batched: bool, tf: Any) -> bool:
    """Returns True for an infinite dataset.

    Raises:
        ValueError: If the dataset is known to be too long for its ids, or is infinite without `num_samples`.
    """
    cardinality = int(dataset.cardinality())
    infinite = cardinality == tf.data.INFINITE_CARDINALITY
    if infinite and num_samples is None:
        raise ValueError(
            "The ids of an infinite dataset have no end. Call `with_sample_ids` before `repeat()`. If the dataset "
            "repeats its samples in a fixed order, pass their number as `num_samples`. Received: num_samples=None"
        )
    size = _find_dense_tensor(dataset.element_spec, tf).shape[0] if batched else 1
    if cardinality >= 0 and size is not None:
        check_range(start, start + cardinality * size, num_samples)
    return bool(infinite)


def _find_dense_tensor(element: Structure, tf: Any) -> Tensor:
    """Returns the first dense tensor of an element (or of its specification), whose first axis is the batch size."""
    for leaf in keras.tree.flatten(element):
        if isinstance(leaf, (tf.Tensor, tf.TensorSpec)):
            return leaf
    raise ValueError(f"A dataset of batches needs at least one dense tensor. Received: {element}")
