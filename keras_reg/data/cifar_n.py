"""The human annotations of CIFAR-10N and CIFAR-100N, read from the files that their authors publish."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_reg.data._label_pickle import read_label_file

CIFAR10N_CLASSES = dict.fromkeys(
    ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3"), 10
)
CIFAR100N_CLASSES = {"clean_label": 100, "noisy_label": 100, "clean_coarse_label": 20, "noisy_coarse_label": 20}

# One of the published files calls the same labels by another name.
OTHER_NAMES = {"noise_label": "noisy_label"}


def load_cifar10n(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Loads the human labels of CIFAR-10N (arXiv 2110.12088), from a file that you have.

    The labels are published as `CIFAR-10_human.pt` under a licence for non-commercial use (CC BY-NC 4.0), so they do
    not come with this package. The file is read without PyTorch, and nothing in it is run.

    The order of that file is the order of `keras.datasets.cifar10`, of torchvision and of the Python version of
    CIFAR-10; TensorFlow Datasets and the files named `..._ordered` have another. Compare `clean_label` with the
    labels of your images before anything else.

    Args:
        path: A file of the authors (`.pt`, `.npy`), or a `.npz` file with the same names.

    Returns:
        The labels as int64 arrays, all of one length: `"clean_label"`, `"aggre_label"` (majority of three
        annotators, 9.0 % wrong), `"random_label1"`, `"random_label2"`, `"random_label3"` (one annotator each, 17 to
        18 % wrong) and `"worse_label"` (a wrong one of the three wherever there is any, 40.2 % wrong), as far as the
        file has them.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file of CIFAR-10N labels.

    Example:
    ```python
    labels = keras_reg.data.load_cifar10n("CIFAR-10_human.pt")
    (x, y), _ = keras.datasets.cifar10.load_data()
    print((labels["clean_label"] == y[:, 0]).all(), (labels["worse_label"] != y[:, 0]).mean())
    ```
    """
    return _load(path, CIFAR10N_CLASSES, "CIFAR-10N")


def load_cifar100n(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Loads the human labels of CIFAR-100N (arXiv 2110.12088), from a file that you have.

    See `load_cifar10n` for the licence and the order; the published file is `CIFAR-100_human.pt`.

    Args:
        path: A file of the authors (`.pt`, `.npy`), or a `.npz` file with the same names.

    Returns:
        The labels as int64 arrays, all of one length: `"clean_label"` and `"noisy_label"` (40.2 % wrong) from 0 to
        99, and, as far as the file has them, `"clean_coarse_label"` and `"noisy_coarse_label"` (superclasses 0 to
        19, 26.4 % wrong). `"noise_label"`, as one of the files calls it, becomes `"noisy_label"`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file of CIFAR-100N labels.

    Example:
    ```python
    labels = keras_reg.data.load_cifar100n("CIFAR-100_human.pt")
    print((labels["clean_label"] != labels["noisy_label"]).mean())  # 0.402
    ```
    """
    return _load(path, CIFAR100N_CLASSES, "CIFAR-100N")


def _load(path: str | os.PathLike[str], classes: dict[str, int], title: str) -> dict[str, np.ndarray[Any, Any]]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. The labels of {title} are published by the authors of arXiv 2110.12088, "
            "under a licence that does not allow to bring them along here."
        )
    labels = {OTHER_NAMES.get(name, name): array for name, array in read_label_file(file).items()}
    unknown = sorted(set(labels) - set(classes))
    if unknown or "clean_label" not in labels or len(labels) < 2:
        raise ValueError(
            f"{title} has the labels {list(classes)}, and a file must have the clean and some noisy ones. "
            f"Received: {sorted(labels)} in {str(path)!r}"
        )
    lengths = {name: len(array) for name, array in labels.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"All labels must have one length, above 0. Received: {lengths} in {str(path)!r}")
    for name, array in labels.items():
        if array.min() < 0 or array.max() >= classes[name]:
            raise ValueError(
                f"{name!r} must be from 0 to {classes[name] - 1} for {title}. Received: {array.min()} to {array.max()} "
                f"in {str(path)!r}"
            )
    return {name: labels[name].astype(np.int64) for name in classes if name in labels}
