"""The label noise of a comparison: its notation, label files, and giving noisy labels to samples."""

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
from keras_reg.compare.errors import InputError, one_line

Labels = npt.NDArray[np.int64]

_NOTATION = (
    "symmetric:RATE, asymmetric:RATE, none, or a label file (.npy, .npz, .csv, .txt, .pt; FILE#NAME picks an array)"
)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Which labels training and validation see.

    Attributes:
        kind: `"none"`, `"symmetric"`, `"asymmetric"` or `"file"`.
        rate: The share of wrong labels, for the two synthetic kinds.
        labels: The labels of every sample of the data set, for a file.
    """

    kind: str
    rate: float = 0.0
    labels: Labels | None = None

    def given_labels(self, dataset: Dataset, index: npt.NDArray[np.integer], seed: int) -> Labels:
        """The (noisy) labels of some samples.

        Args:
            dataset: The data set.
            index: Which samples, positions in the data set.
            seed: What decides the draw of synthetic noise.

        Returns:
            One label per sample.
        """
        true = dataset.y[index]
        if self.kind == "file" and self.labels is not None:
            return np.asarray(self.labels[index])
        try:
            if self.kind == "symmetric":
                return np.asarray(data.symmetric_noise(true, self.rate, dataset.num_classes, seed), np.int64)
            if self.kind == "asymmetric":
                return np.asarray(data.asymmetric_noise(true, self.rate, dataset.confusable, seed), np.int64)
        except ValueError as error:
            raise InputError(f"{self.kind} noise on {dataset.name}: {one_line(error)}") from error
        return np.asarray(true)

    def check(self, dataset: Dataset) -> None:
        """Refuses a label file that does not belong to the data set."""
        if self.labels is None:
            return
        if len(self.labels) != len(dataset.y):
            raise InputError(
                f"the label file holds {len(self.labels)} labels, but {dataset.name} has {len(dataset.y)} samples"
            )
        if self.labels.min() < 0 or self.labels.max() >= dataset.num_classes:
            raise InputError(
                f"the label file's labels go from {self.labels.min()} to {self.labels.max()}, but those of"
                f" {dataset.name} from 0 to {dataset.num_classes - 1}"
            )


def parse_noise(text: str) -> Noise:
    """Reads the notation of `--noise`.

    Args:
        text: `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or the path of a label file.

    Returns:
        The noise.

    Raises:
        InputError: If it is none of these.
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
    """The labels of a file, as a vector of integers."""
    try:
        stored = _read_arrays(path)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"the label file {path.name} cannot be read: {one_line(error)}") from error
    if isinstance(stored, dict):
        names = ", ".join(sorted(stored))
        if not key and len(stored) != 1:
            raise InputError(f"the label file {path.name} holds several arrays ({names}); pick one with #NAME")
        if key and key not in stored:
            raise InputError(f"the label file {path.name} has no array {key!r}; it holds {names}")
        stored = stored[key or next(iter(stored))]
    labels = np.asarray(stored)
    if labels.ndim != 1 or not len(labels) or labels.dtype.kind not in "iuf" or not np.all(labels == np.round(labels)):
        raise InputError(f"the label file {path.name} must hold a vector of integers")
    return labels.astype(np.int64)


def _read_arrays(path: pathlib.Path) -> Any:
    """The array of a file, or a dict where the file holds several."""
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    if path.suffix == ".pt":
        return data.load_cifar10n(str(path))
    if path.suffix in (".csv", ".txt"):
        # The label is the last column, so that "index,label" works too; a first line of words is a heading.
        rows = [line.split(",")[-1].strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
        if rows and not _is_number(rows[0]):
            rows = rows[1:]
        return np.asarray([float(row) for row in rows])
    raise InputError(f"the noise must be {_NOTATION}; the file {path.name} is none of these")


def _is_number(text: str) -> bool:
    """Whether a cell of a file is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
