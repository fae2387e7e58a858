"""Synthetic label noise, to measure how well methods cope with wrong labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from keras_reg._types import Array, ArrayLike
from keras_reg._validation import check_boolean, check_integer, check_number, is_integer, reject

# The literature on noisy labels (arXiv 2007.00151) confuses these classes of CIFAR-10: truck -> automobile, bird ->
# airplane, deer -> horse, cat <-> dog. Five of ten classes take part, so a rate r makes r/2 of all labels wrong.
CIFAR10_ASYMMETRIC: Mapping[int, int] = MappingProxyType({9: 1, 2: 0, 4: 7, 3: 5, 5: 3})

# Each class is mistaken for the next one within its block of five consecutive fine ids, in a circle. This is the
# protocol of the authors' code for arXiv 2007.00151. These blocks are not the superclasses of CIFAR-100, whose fine ids
# are not consecutive.
CIFAR100_ASYMMETRIC: tuple[int, ...] = tuple(label - label % 5 + (label + 1) % 5 for label in range(100))

_NAMED_MAPPINGS: dict[str, Mapping[int, int] | Sequence[int]] = {
    "cifar10": CIFAR10_ASYMMETRIC,
    "cifar100": CIFAR100_ASYMMETRIC,
}


def symmetric_noise(labels: ArrayLike, rate: float, num_classes: int, *, seed: int, exclude_true: bool = True) -> Array:
    """Replaces labels with labels that are drawn uniformly from the classes.

    Args:
        labels: Array. Integer labels of shape `(n,)` or `(n, 1)`. They are not changed.
        rate: Float. The share of labels to replace, from 0 to 1. Exactly `round(rate * n)` labels are replaced, chosen
            without replacement.
        num_classes: Integer. The number of classes.
        seed: Integer. The seed of the draws. Equal seeds give equal noise.
        exclude_true: Boolean. Whether a replaced label always changes its class, so that `rate` is the true noise rate.
            `False` draws from all classes, including the true class, as the code of Early-Learning Regularization does
            (arXiv 2007.00151). The true noise rate is then `rate * (1 - 1 / num_classes)` on average, for example 0.36
            and not 0.4 with ten classes. Use it to compare with results that were published with that protocol.
            Defaults to `True`.

    Returns:
        A new array of labels, of the same shape and dtype.

    Raises:
        ValueError: If the labels are not class numbers below `num_classes`, or another argument is out of range.

    Example:

    ```python
    noisy = keras_reg.data.symmetric_noise(
        y_train, rate=0.4, num_classes=10, seed=0
    )
    print((noisy != y_train).mean())  # 0.4
    ```
    """
    num_classes = check_integer("num_classes", num_classes, at_least=2)
    exclude_true = check_boolean("exclude_true", exclude_true)
    rate, generator = _check_rate(rate), _make_generator(seed)
    array = _check_labels(labels)
    if array.max() >= num_classes:
        raise ValueError(
            f"`labels` must be below `num_classes`. Received: the label {array.max()} and num_classes={num_classes}"
        )
    _check_dtype_holds(array, num_classes - 1)
    noisy = array.copy().reshape(-1)
    chosen = generator.choice(noisy.size, round(rate * noisy.size), replace=False)
    if exclude_true:
        # A shift by 1 ... C-1 classes, in a circle, reaches each other class equally often and never the true class.
        new = (noisy[chosen].astype(np.int64) + generator.integers(1, num_classes, chosen.size)) % num_classes
    else:
        new = generator.integers(0, num_classes, chosen.size)
    noisy[chosen] = new
    return noisy.reshape(array.shape)


def asymmetric_noise(
    labels: ArrayLike, rate: float, mapping: str | Mapping[int, int] | Sequence[int], *, seed: int
) -> Array:
    """Replaces labels of a class with labels of one other class, as if the two classes were confused.

    Args:
        labels: Array. Integer labels of shape `(n,)` or `(n, 1)`. They are not changed.
        rate: Float. The share of labels to replace in each class of the mapping, from 0 to 1. Exactly
            `round(rate * n_c)` of the `n_c` labels of class `c` are replaced, chosen without replacement. Classes
            outside the mapping keep their labels, so the noise rate of the whole dataset is lower if there are any.
        mapping: Dictionary, sequence or string. The class for which each class is mistaken, as a dictionary, or as a
            sequence with one entry per class. `"cifar10"` and `"cifar100"` are the mappings that the literature uses
            for CIFAR (arXiv 2007.00151).
        seed: Integer. The seed of the draws. Equal seeds give equal noise.

    Returns:
        A new array of labels, of the same shape and dtype.

    Raises:
        ValueError: If the labels are not class numbers, or another argument is out of range. Also if `mapping` maps a
            class to itself or to a class that does not exist, or if none of its classes occurs in `labels`.

    Example:

    ```python
    noisy = keras_reg.data.asymmetric_noise(
        y_train, rate=0.4, mapping="cifar10", seed=0
    )
    ```
    """
    rate, generator = _check_rate(rate), _make_generator(seed)
    array = _check_labels(labels)
    pairs = _check_mapping(mapping, int(array.max()))
    _check_dtype_holds(array, max(pairs.values()))
    clean = array.reshape(-1)
    noisy = clean.copy()
    rows = {source: np.flatnonzero(clean == source) for source in sorted(pairs)}
    if not any(members.size for members in rows.values()):
        raise ValueError(f"`labels` must contain a class of `mapping`. Received: none of the classes {sorted(pairs)}")
    for source, members in rows.items():
        noisy[generator.choice(members, round(rate * members.size), replace=False)] = pairs[source]
    return noisy.reshape(array.shape)


def _check_rate(rate: Any) -> float:
    return check_number("rate", rate, at_least=0.0, at_most=1.0)


def _make_generator(seed: Any) -> np.random.Generator:
    return np.random.default_rng(check_integer("seed", seed, at_least=0))


def _check_labels(labels: ArrayLike) -> Array:
    array = np.asarray(keras.ops.convert_to_numpy(labels) if keras.ops.is_tensor(labels) else labels)
    if array.ndim == 2 and array.shape[1] > 1:
        raise ValueError(
            "`labels` must be class numbers, one per sample. Convert one-hot labels with `labels.argmax(-1)`. "
            f"Received: an array of shape {array.shape}"
        )
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"`labels` must have the shape (n,) or (n, 1), with n > 0. Received: shape {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"`labels` must be integers. Convert them with `labels.astype('int32')`. Received: {array.dtype}"
        )
    if array.min() < 0:
        raise ValueError(f"`labels` must not be negative. Received: the label {array.min()}")
    return array


def _check_dtype_holds(array: Array, highest: int) -> None:
    if highest > np.iinfo(array.dtype).max:
        raise ValueError(
            f"The dtype of `labels` cannot hold the class {highest}. Use a wider dtype. Received: {array.dtype}"
        )


def _check_mapping(mapping: Any, highest_label: int) -> dict[int, int]:
    """Returns a mapping, which may be one of the names, as a dictionary."""
    if isinstance(mapping, str) and mapping in _NAMED_MAPPINGS:
        mapping = _NAMED_MAPPINGS[mapping]
    is_dictionary = isinstance(mapping, Mapping)
    if not is_dictionary and (isinstance(mapping, (str, bytes)) or not isinstance(mapping, (Sequence, np.ndarray))):
        reject("mapping", mapping, f"must be a dictionary or a sequence of classes, or one of {tuple(_NAMED_MAPPINGS)}")
    items = list(mapping.items() if is_dictionary else enumerate(mapping))
    if not items or not all(is_integer(label) and label >= 0 for pair in items for label in pair):
        reject("mapping", mapping, "must hold at least one class, and classes must be integers of at least 0")
    pairs = {int(source): int(target) for source, target in items}
    # A sequence names all classes. With a dictionary, the labels show which other classes exist.
    num_classes = max(pairs) + 1 if not is_dictionary else max(highest_label, *pairs) + 1
    if highest_label >= num_classes:
        raise ValueError(
            f"`mapping` has no entry for the class {highest_label} that is in `labels`. Received: {len(pairs)} entries"
        )
    for source, target in pairs.items():
        if source == target:
            raise ValueError(
                "`mapping` must not map a class to itself. To keep its labels, leave the class out of a dictionary. "
                f"Received: the class {source} maps to itself"
            )
        if target >= num_classes:
            raise ValueError(
                f"`mapping` must map to classes below {num_classes}. Received: the class {source} maps to {target}"
            )
    return pairs
