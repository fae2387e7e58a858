"""The human annotations of CIFAR-10N and CIFAR-100N, read from the files that their authors publish."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from keras_reg._types import Array
from keras_reg.data._label_pickle import read_label_file

CIFAR10N_CLASSES = dict.fromkeys(
    ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3"), 10
)
CIFAR100N_CLASSES = {"clean_label": 100, "noisy_label": 100, "clean_coarse_label": 20, "noisy_coarse_label": 20}

# One of the published files has a different name for the same labels.
OTHER_NAMES = {"noise_label": "noisy_label"}


def load_cifar10n(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Loads the human labels of CIFAR-10N from a file on disk.

    The labels are published as `CIFAR-10_human.pt` under a license for non-commercial use (CC BY-NC 4.0), so this
    package does not contain them. The file is read without PyTorch, and no code of the file runs.

    The order of that file is the order of `keras.datasets.cifar10`, of torchvision and of the Python version of
    CIFAR-10. TensorFlow Datasets and the files named `..._ordered` have a different order. First compare `clean_label`
    with the labels of your images.

    Args:
        path: String or path. A file of the authors (`.pt`, `.npy`), or a `.npz` file with the same names.

    Returns:
        A dictionary of int64 arrays of equal length. It has those of the following labels that are in the file:

        - `"clean_label"`.
        - `"aggre_label"`: majority of three annotators, 9.0 % wrong.
        - `"random_label1"`, `"random_label2"`, `"random_label3"`: one annotator each, 17 to 18 % wrong.
        - `"worse_label"`: a wrong label of the three annotators if there is any, 40.2 % wrong.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file of CIFAR-10N labels.

    Example:

    ```python
    labels = keras_reg.data.load_cifar10n("CIFAR-10_human.pt")
    (x, y), _ = keras.datasets.cifar10.load_data()
    print((labels["clean_label"] == y[:, 0]).all())  # True
    print((labels["worse_label"] != y[:, 0]).mean())  # 0.402
    ```

    Reference:
        - [Wei et al., 2021](https://arxiv.org/abs/2110.12088): Learning with Noisy Labels Revisited: A Study Using
          Real-World Human Annotations
    """
    return _load(path, CIFAR10N_CLASSES, "CIFAR-10N")


def load_cifar100n(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Loads the human labels of CIFAR-100N from a file on disk.

    See `load_cifar10n` for the license and the order. The published file is `CIFAR-100_human.pt`.

    Args:
        path: String or path. A file of the authors (`.pt`, `.npy`), or a `.npz` file with the same names.

    Returns:
        A dictionary of int64 arrays of equal length. It has those of the following labels that are in the file:

        - `"clean_label"` and `"noisy_label"`: classes 0 to 99, 40.2 % of the noisy labels are wrong. One of the
          published files calls the latter `"noise_label"`.
        - `"clean_coarse_label"` and `"noisy_coarse_label"`: superclasses 0 to 19, 26.4 % of the noisy labels are wrong.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a file of CIFAR-100N labels.

    Example:

    ```python
    labels = keras_reg.data.load_cifar100n("CIFAR-100_human.pt")
    wrong = labels["clean_label"] != labels["noisy_label"]
    print(wrong.mean())  # 0.402
    ```

    Reference:
        - [Wei et al., 2021](https://arxiv.org/abs/2110.12088): Learning with Noisy Labels Revisited: A Study Using
          Real-World Human Annotations
    """
    return _load(path, CIFAR100N_CLASSES, "CIFAR-100N")


def _load(path: str | os.PathLike[str], classes: dict[str, int], title: str) -> dict[str, Array]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"The labels of {title} are not part of this package, because their license does not allow it. The authors "
            f"of arXiv 2110.12088 publish them. Received: no file {str(path)!r}"
        )
    labels = {OTHER_NAMES.get(name, name): array for name, array in read_label_file(file).items()}
    unknown = sorted(set(labels) - set(classes))
    if unknown or "clean_label" not in labels or len(labels) < 2:
        raise ValueError(
            f"{title} has the labels {list(classes)}. A file must have the clean labels and some noisy labels. "
            f"Received: {sorted(labels)} in {str(path)!r}"
        )
    lengths = {name: len(array) for name, array in labels.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise ValueError(f"All labels must have the same length, above 0. Received: {lengths} in {str(path)!r}")
    for name, array in labels.items():
        if array.min() < 0 or array.max() >= classes[name]:
            raise ValueError(
                f"{name!r} must be from 0 to {classes[name] - 1} for {title}. Received: {array.min()} to {array.max()} "
                f"in {str(path)!r}"
            )
    return {name: labels[name].astype(np.int64) for name in classes if name in labels}
