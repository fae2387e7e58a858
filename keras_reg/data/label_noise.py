"""Wrong labels made on purpose, to measure how a method copes with them."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

# Confusions of CIFAR-10 in the noisy-label literature (arXiv 2007.00151): truck -> automobile, bird -> airplane,
# deer -> horse, cat <-> dog. Five classes of ten take part, so a rate r makes r/2 of all labels wrong.
CIFAR10_ASYMMETRIC: Mapping[int, int] = MappingProxyType({9: 1, 2: 0, 4: 7, 3: 5, 5: 3})

# The next class within each block of five consecutive fine ids, in a circle (the protocol of the authors' code for
# arXiv 2007.00151). These blocks are not the superclasses of CIFAR-100, whose fine ids are not consecutive.
CIFAR100_ASYMMETRIC: tuple[int, ...] = tuple(label - label % 5 + (label + 1) % 5 for label in range(100))


def symmetric_noise(labels: Any, rate: float, num_classes: int, seed: int, exclude_true: bool = True) -> Any:
    """Replaces labels by others drawn from all classes alike.

    Args:
        labels: Integer labels of shape `(n,)` or `(n, 1)`. They are not changed.
        rate: The share of labels to replace: exactly `round(rate * n)` of them, chosen without replacement.
        num_classes: The number of classes.
        seed: The seed. The same seed makes the same noise.
        exclude_true: Whether a replaced label always becomes another class, so that `rate` is the true noise rate.
            `False` draws from all classes, the true one included, as the code of Early-Learning Regularization does
            (arXiv 2007.00151): the true noise rate is then `rate * (1 - 1 / num_classes)` on average, for example
            0.36 and not 0.4 with ten classes. Use it to compare with numbers published for that protocol.

    Returns:
        A new array of labels, of the same shape and dtype.

    Raises:
        ValueError: If the labels are no class numbers below `num_classes`, or another argument is out of range.

    Example:
    ```python
    noisy = keras_reg.data.symmetric_noise(y_train, rate=0.4, num_classes=10, seed=0)
    print((noisy != y_train).mean())  # 0.4
    ```
    """
    num_classes = _check_integer("num_classes", num_classes, 2)
    generator, rate = _check_noise(rate, seed)
    array = _check_labels(labels)
    if array.max() >= num_classes:
        raise ValueError(
            f"`labels` must be below `num_classes`. Received: the label {array.max()} and num_classes={num_classes}"
        )
    _check_dtype_holds(array, num_classes - 1)
    noisy = array.copy().reshape(-1)
    chosen = generator.choice(noisy.size, round(rate * noisy.size), replace=False)
    if exclude_true:
        # Going 1 ... C-1 classes further, in a circle, reaches each of the others alike and never the class itself.
        new = (noisy[chosen].astype(np.int64) + generator.integers(1, num_classes, chosen.size)) % num_classes
    else:
        new = generator.integers(0, num_classes, chosen.size)
    noisy[chosen] = new
    return noisy.reshape(array.shape)


def asymmetric_noise(labels: Any, rate: float, mapping: Mapping[int, int] | Sequence[int], seed: int) -> Any:
    """Replaces labels of a class by those of one other class, as if the two were confused.

    `CIFAR10_ASYMMETRIC` and `CIFAR100_ASYMMETRIC` are the mappings in use for CIFAR (arXiv 2007.00151).

    Args:
        labels: Integer labels of shape `(n,)` or `(n, 1)`. They are not changed.
        rate: The share of labels to replace in each class of the mapping: exactly `round(rate * n_c)` of the `n_c`
            labels of class `c`, chosen without replacement. Classes outside the mapping keep their labels, so the
            noise rate of the whole data set is lower where there are any.
        mapping: The class that each class is mistaken for, as a dictionary; or a sequence with one entry per class.
        seed: The seed. The same seed makes the same noise.

    Returns:
        A new array of labels, of the same shape and dtype.

    Raises:
        ValueError: If the labels are no class numbers, `mapping` maps a class to itself or to one that does not
            exist, or none of its classes occurs in `labels`, or another argument is out of range.

    Example:
    ```python
    noisy = keras_reg.data.asymmetric_noise(y_train, 0.4, keras_reg.data.CIFAR10_ASYMMETRIC, seed=0)
    ```
    """
    generator, rate = _check_noise(rate, seed)
    array = _check_labels(labels)
    pairs = _check_mapping(mapping, int(array.max()))
    _check_dtype_holds(array, max(pairs.values()))
    clean = array.reshape(-1)
    noisy = clean.copy()
    rows = {source: np.flatnonzero(clean == source) for source in sorted(pairs)}
    if not any(found.size for found in rows.values()):
        raise ValueError(f"None of the classes {sorted(pairs)} of `mapping` occurs in `labels`: nothing would change.")
    for source, found in rows.items():
        noisy[generator.choice(found, round(rate * found.size), replace=False)] = pairs[source]
    return noisy.reshape(array.shape)


def _check_noise(rate: Any, seed: Any) -> tuple[np.random.Generator, float]:
    if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0.0 <= float(rate) <= 1.0:
        raise ValueError(f"`rate` must be a number from 0 to 1. Received: rate={rate!r}")
    return np.random.default_rng(_check_integer("seed", seed, 0)), float(rate)


def _check_integer(name: str, value: Any, lowest: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or value < lowest:
        raise ValueError(f"`{name}` must be an integer, {lowest} or more. Received: {name}={value!r}")
    return int(value)


def _check_labels(labels: Any) -> np.ndarray[Any, Any]:
    array = np.asarray(keras.ops.convert_to_numpy(labels) if keras.ops.is_tensor(labels) else labels)
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(
            "`labels` must be class numbers, one per sample. Received: an array of shape "
            f"{array.shape}; turn one-hot labels into numbers with `labels.argmax(-1)`."
        )
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"`labels` must have the shape (n,) or (n, 1), with n > 0. Received: shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"`labels` must be integers, turn them with `labels.astype('int32')`. Received: {array.dtype}")
    if array.min() < 0:
        raise ValueError(f"`labels` must not be negative. Received: the label {array.min()}")
    return array


def _check_dtype_holds(array: np.ndarray[Any, Any], highest: int) -> None:
    if highest > np.iinfo(array.dtype).max:
        raise ValueError(f"The dtype of `labels`, {array.dtype}, cannot hold the class {highest}. Use a wider one.")


def _check_mapping(mapping: Any, highest_label: int) -> dict[int, int]:
    is_mapping = isinstance(mapping, Mapping)
    if not is_mapping and (isinstance(mapping, (str, bytes)) or not isinstance(mapping, (Sequence, np.ndarray))):
        raise ValueError(f"`mapping` must be a dictionary or a sequence of classes. Received: {mapping!r}")
    pairs = {
        _check_integer("a class in mapping", source, 0): _check_integer("a class in mapping", target, 0)
        for source, target in (mapping.items() if is_mapping else enumerate(mapping))
    }
    if not pairs:
        raise ValueError(f"`mapping` is empty. Received: {mapping!r}")
    # A sequence names all classes there are; beside a dictionary the labels show which others exist.
    num_classes = max(pairs) + 1 if not is_mapping else max(highest_label, *pairs) + 1
    if highest_label >= num_classes:
        raise ValueError(
            f"`mapping` has no entry for the class {highest_label} that is in `labels`. Received: {len(pairs)} entries"
        )
    for source, target in pairs.items():
        if source == target:
            raise ValueError(
                f"`mapping` maps the class {source} to itself. To keep its labels, leave it out of a dictionary."
            )
        if target >= num_classes:
            raise ValueError(f"`mapping` maps {source} to {target}, which is no class: they end at {num_classes - 1}.")
    return pairs
