"""The label noise of a comparison: its notation, label files, and noisy labels."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_reg import data
from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError, format_error

Labels = npt.NDArray[np.int64]

_NOTATION = (
    "symmetric:RATE, asymmetric:RATE, none, or a label file (.npy, .npz, .csv, .txt, .pt; FILE#NAME selects an array)"
)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Describes the labels of the training and validation samples.

    Attributes:
        kind: `"none"`, `"symmetric"`, `"asymmetric"` or `"file"`.
        rate: The share of wrong labels for the two synthetic kinds.
        labels: For a file, the labels of all samples of the dataset.
    """

    kind: str
    rate: float = 0.0
    labels: Labels | None = None

    def draw_labels(self, dataset: Dataset, index: npt.NDArray[np.integer], seed: int) -> Labels:
        """Returns the labels of some samples, which may be noisy.

        Args:
            dataset: The dataset.
            index: The positions of the samples in the dataset.
            seed: The seed of synthetic noise.

        Returns:
            One label per sample.

        Raises:
            InputError: If the dataset does not support the noise.
        """
        true = dataset.y[index]
        if self.kind == "file" and self.labels is not None:
            return np.asarray(self.labels[index])
        try:
            if self.kind == "symmetric":
                return np.asarray(data.symmetric_noise(true, self.rate, dataset.num_classes, seed=seed), np.int64)
            if self.kind == "asymmetric":
                return np.asarray(data.asymmetric_noise(true, self.rate, dataset.confusable, seed=seed), np.int64)
        except ValueError as error:
            raise InputError(f"{self.kind} noise on {dataset.name}: {format_error(error)}") from error
        return np.asarray(true)

    def check(self, dataset: Dataset) -> None:
        """Raises an `InputError` if a label file does not match the dataset."""
        if self.labels is None:
            return
        if len(self.labels) != len(dataset.y):
            raise InputError(
                f"the label file contains {len(self.labels)} labels, but {dataset.name} has {len(dataset.y)} samples"
            )
        if self.labels.min() < 0 or self.labels.max() >= dataset.num_classes:
            raise InputError(
                f"the labels in the label file range from {self.labels.min()} to {self.labels.max()}, but those of"
                f" {dataset.name} from 0 to {dataset.num_classes - 1}"
            )


def parse_noise(text: str) -> Noise:
    """Parses the notation of `--noise`.

    Args:
        text: `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or the path of a label file.

    Returns:
        The noise.

    Raises:
        InputError: If the notation is invalid, or the file cannot be used.
    """
    if text == "none":
        return Noise("none")
    kind, _, number = text.partition(":")
    if kind in ("symmetric", "asymmetric"):
        try:
            rate = float(number)
        except ValueError:
            raise InputError(f"the noise {text!r} needs a rate after the colon, as in {kind}:0.4") from None
        if not (math.isfinite(rate) and 0 <= rate <= 1):
            raise InputError(f"the noise rate must be between 0 and 1; it is {number}")
        return Noise(kind, rate)
    name, _, key = text.rpartition("#") if "#" in text and not pathlib.Path(text).exists() else (text, "", "")
    if not pathlib.Path(name).is_file():
        raise InputError(f"the noise {text!r} is not an existing file; it must be {_NOTATION}")
    return Noise("file", labels=_read_labels(pathlib.Path(name), key))


def _read_labels(path: pathlib.Path, key: str) -> Labels:
    """Returns the labels of a file as a vector of integers."""
    try:
        stored = _read_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"the label file {path.name} cannot be read: {format_error(error)}") from error
    if isinstance(stored, dict):
        names = ", ".join(sorted(stored))
        if not key and len(stored) != 1:
            raise InputError(f"the label file {path.name} contains several arrays ({names}); select one with #NAME")
        if key and key not in stored:
            raise InputError(f"the label file {path.name} has no array {key!r}; it contains {names}")
        stored = stored[key or next(iter(stored))]
    labels = np.asarray(stored)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iuf" or not np.all(labels == np.round(labels)):
        raise InputError(f"the label file {path.name} must contain a vector of integers")
    return labels.astype(np.int64)


def _read_arrays(path: pathlib.Path) -> Any:
    """Returns the array of a file, or a dictionary if the file can contain several arrays."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    if path.suffix == ".pt":
        return data.load_cifar10n(str(path))
    if path.suffix in (".csv", ".txt"):
        # The label is the last column, so that "index,label" also works. A first line without numbers is a header.
        rows = [line.split(",")[-1].strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        if rows and not _is_number(rows[0]):
            rows = rows[1:]
        return np.asarray([float(row) for row in rows])
    raise InputError(f"the noise must be {_NOTATION}; the file {path.name} is none of these")


def _is_number(text: str) -> bool:
    """Returns True if a cell of a file is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
