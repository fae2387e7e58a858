"""The datasets of a comparison, and the checks of their contents."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_reg._types import ArrayLike
from keras_reg.compare import dataset_files, extras
from keras_reg.compare.errors import InputError, format_error

BUNDLED = ("digits", "wine", "breast_cancer")
DOWNLOADED = ("cifar10", "cifar100", "fashion_mnist")
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_CLASS_NAMES = {"cifar10": _CIFAR10, "fashion_mnist": _FASHION}
# Each class needs one sample for training, one for validation and one for testing.
_FEWEST_PER_CLASS = 3


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Holds samples with their true labels before any split.

    Attributes:
        name: A short name for tables and titles.
        x: The samples: images of shape (n, height, width, channels) or features of shape (n, width).
        y: The labels, integers from 0 to `num_classes - 1`.
        x_test: A separate test set, or `None` if a part of `x` is used.
        y_test: The labels of the test set, or `None`.
        class_names: One name per class.
    """

    name: str
    x: npt.NDArray[Any]
    y: npt.NDArray[np.int64]
    x_test: npt.NDArray[Any] | None
    y_test: npt.NDArray[np.int64] | None
    class_names: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """Returns the number of classes."""
        return len(self.class_names)

    @property
    def is_image(self) -> bool:
        """Returns True if a sample is an image, and False if it is a feature vector."""
        return self.x.ndim == 4

    @property
    def confusable(self) -> str | dict[int, int]:
        """Returns the class that replaces each class in asymmetric noise, in the form of `data.asymmetric_noise`.

        CIFAR-10 and CIFAR-100 use the mappings of the literature, by name. In other datasets, the next class replaces
        each class.
        """
        if self.class_names == _CIFAR10:
            return "cifar10"
        if self.name == "cifar100":
            return "cifar100"
        return {label: (label + 1) % self.num_classes for label in range(self.num_classes)}


def load_dataset(source: str) -> Dataset:
    """Loads and checks a dataset.

    Args:
        source: A name from `BUNDLED` or `DOWNLOADED`, the path of an `.npz` file, or a folder with one sub-folder of
            images per class.

    Returns:
        The dataset.

    Raises:
        InputError: If the data cannot be loaded or used.
    """
    if source in BUNDLED:
        return _check_dataset(source, *_load_bundled(source))
    if source in DOWNLOADED:
        return _check_dataset(source, *_load_downloaded(source))
    path = pathlib.Path(source)
    if not path.exists():
        known = ", ".join(BUNDLED + DOWNLOADED)
        raise InputError(f"the dataset {source!r} is neither one of {known} nor an existing .npz file or folder")
    if path.is_dir():
        return _check_dataset(path.resolve().name, *dataset_files.read_folder(path))
    if path.suffix != ".npz":
        raise InputError(f"the dataset {source!r} must be an .npz file or a folder of images")
    return _check_dataset(path.stem, *dataset_files.read_npz(path))


def _load_bundled(name: str) -> dataset_files.Arrays:
    """Loads real data that is bundled with scikit-learn."""
    bunch = getattr(extras.load("sklearn.datasets"), f"load_{name}")()
    names = tuple(str(label) for label in bunch.target_names)
    if name == "digits":
        return (bunch.images[..., None] / 16).astype("float32"), bunch.target, None, None, names
    return bunch.data.astype("float32"), bunch.target, None, None, names


def _load_downloaded(name: str) -> dataset_files.Arrays:
    """Loads public data, which Keras downloads once and caches."""
    import keras

    try:
        with _network_timeout(30):
            (x, y), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:
        raise InputError(
            f"{name} is not on this machine and could not be downloaded ({format_error(error)}); connect to the "
            f"internet once, or pass an .npz file or a folder; {', '.join(BUNDLED)} need no download"
        ) from error
    names = _CLASS_NAMES.get(name, tuple(str(label) for label in range(int(y.max()) + 1)))
    return x, y.reshape(-1), x_test, y_test.reshape(-1), names


@contextlib.contextmanager
def _network_timeout(seconds: float) -> Iterator[None]:
    """Sets a timeout, so that a download without network access fails and does not hang."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _check_dataset(name: str, x: Any, y: Any, x_test: Any, y_test: Any, class_names: tuple[str, ...] | None) -> Dataset:
    """Returns the dataset after every check that does not need a split."""
    if (x_test is None) != (y_test is None):
        raise InputError(f"{name}: test samples and test labels must be given together")
    x, y = _check_samples(name, x), _check_labels(name, y)
    _check_lengths(name, x, y)
    if x_test is not None:
        x_test, y_test = _check_samples(f"{name} (test)", x_test), _check_labels(f"{name} (test)", y_test)
        _check_lengths(f"{name} (test)", x_test, y_test)
        if x_test.shape[1:] != x.shape[1:]:
            raise InputError(f"{name}: test samples have shape {x_test.shape[1:]}, training samples {x.shape[1:]}")
    count = len(class_names) if class_names else int(y.max()) + 1
    for labels in (y,) if y_test is None else (y, y_test):
        if labels.min() < 0 or labels.max() >= count:
            raise InputError(
                f"{name}: labels must be integers from 0 to {count - 1}; they go from {labels.min()} to {labels.max()}"
            )
    sizes = np.bincount(y, minlength=count)
    if np.count_nonzero(sizes) < 2:
        raise InputError(f"{name}: all {len(y)} labels are the same class; at least two classes are needed")
    if sizes.min() < _FEWEST_PER_CLASS:
        raise InputError(
            f"{name}: class {int(sizes.argmin())} has {sizes.min()} samples; each class needs {_FEWEST_PER_CLASS}"
            " (classes are numbered from 0 without gaps)"
        )
    return Dataset(name, x, y, x_test, y_test, class_names or tuple(str(label) for label in range(count)))


def _check_samples(name: str, x: ArrayLike) -> npt.NDArray[Any]:
    """Returns samples as images with a channel axis, or as feature vectors. Rejects numbers that are not finite."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise InputError(f"{name}: samples must be numbers; they have dtype {x.dtype}")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise InputError(
            f"{name}: samples must be a non-empty array of shape (n, features), (n, height, width) or"
            f" (n, height, width, channels); its shape is {x.shape}"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError(f"{name}: {int((~np.isfinite(x)).sum())} values of the samples are NaN or infinite")
    return np.asarray(x[..., None] if x.ndim == 3 else x)


def _check_labels(name: str, y: ArrayLike) -> npt.NDArray[np.int64]:
    """Returns labels as a vector of integers."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iuf" or (y.dtype.kind == "f" and not np.array_equal(y, np.round(y))):
        raise InputError(f"{name}: labels must be a vector of integers; they have shape {y.shape}, dtype {y.dtype}")
    return np.asarray(y, np.int64)


def _check_lengths(name: str, x: npt.NDArray[Any], y: npt.NDArray[np.int64]) -> None:
    """Raises an `InputError` if the numbers of samples and labels differ."""
    if len(x) != len(y):
        raise InputError(f"{name}: there are {len(x)} samples but {len(y)} labels")
