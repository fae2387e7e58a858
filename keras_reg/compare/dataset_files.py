"""Reads datasets from files: `.npz` arrays, `.npz` files of JPEG images, folders of images."""

from __future__ import annotations

import collections
import io
import itertools
import pathlib
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_reg.compare import extras
from keras_reg.compare.errors import InputError, format_error

#: The arrays x, y, x_test and y_test, and the class names.
Arrays = tuple[Any, Any, Any, Any, "tuple[str, ...] | None"]

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_NPZ_LAYOUTS = "x and y, or x_train, y_train, x_test and y_test, or train_bytes, train_offsets and train_labels"


def read_npz(path: pathlib.Path) -> Arrays:
    """Reads a dataset from an `.npz` file.

    The file has one of three layouts:

    - the arrays `x` and `y`
    - the arrays `x_train` and `y_train`, and optionally `x_test` and `y_test`
    - JPEG images in the arrays `train_bytes`, `train_offsets` and `train_labels`, and optionally the same with `test`.
      Image i is the file `bytes[offsets[i]:offsets[i + 1]]`.

    The array `class_names` is optional in all of them.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} cannot be read as .npz: {format_error(error)}") from error
    names = tuple(str(name) for name in arrays["class_names"]) if "class_names" in arrays else None
    if {"train_bytes", "train_offsets", "train_labels"} <= arrays.keys():
        x, y = _decode(path.name, arrays, "train")
        x_test, y_test = _decode(path.name, arrays, "test") if "test_bytes" in arrays else (None, None)
        return x, y, x_test, y_test, names
    if {"x_train", "y_train"} <= arrays.keys():
        return arrays["x_train"], arrays["y_train"], arrays.get("x_test"), arrays.get("y_test"), names
    if {"x", "y"} <= arrays.keys():
        return arrays["x"], arrays["y"], None, None, names
    raise InputError(f"{path.name} must contain {_NPZ_LAYOUTS}; it contains {', '.join(sorted(arrays)) or 'nothing'}")


def _decode(name: str, arrays: dict[str, npt.NDArray[Any]], part: str) -> tuple[npt.NDArray[np.uint8], Any]:
    """Returns the images and labels of one part of a file of JPEG images."""
    missing = [key for key in (f"{part}_bytes", f"{part}_offsets", f"{part}_labels") if key not in arrays]
    if missing:
        raise InputError(f"{name} has no array {missing[0]}")
    blob, offsets = arrays[f"{part}_bytes"].tobytes(), arrays[f"{part}_offsets"]
    image = extras.load("PIL.Image")
    pictures = []
    for number, (start, stop) in enumerate(itertools.pairwise(offsets)):
        try:
            pictures.append(np.asarray(image.open(io.BytesIO(blob[int(start) : int(stop)])).convert("RGB")))
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: {part} image {number} cannot be decoded: {format_error(error)}") from error
    if len({picture.shape for picture in pictures}) != 1:
        raise InputError(f"{name}: there must be at least one {part} image, and all must have the same size")
    return np.stack(pictures), arrays[f"{part}_labels"]


def read_folder(path: pathlib.Path) -> Arrays:
    """Reads images from one sub-folder per class, or from such sub-folders below `train` and `test`."""
    parts = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    if parts == ["test", "train"]:
        x, y, names, size = _read_classes(path / "train", None, None)
        x_test, y_test, _, _ = _read_classes(path / "test", names, size)
        return x, y, x_test, y_test, names
    x, y, names, _ = _read_classes(path, None, None)
    return x, y, None, None, names


def _read_classes(
    path: pathlib.Path, names: tuple[str, ...] | None, size: tuple[int, int] | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...], tuple[int, int]]:
    """Reads the images below one folder. Images are resized to `size`, or to the most common size if it is `None`."""
    classes = tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir()))
    if names is not None and not set(classes) <= set(names):
        raise InputError(f"{path.name} has a class without training images: {min(set(classes) - set(names))}")
    names = names or classes
    files, labels = [], []
    for label, name in enumerate(names):
        folder = path / name
        images = sorted(f for f in folder.iterdir() if f.suffix.lower() in _IMAGE_SUFFIXES) if folder.is_dir() else []
        files += images
        labels += [label] * len(images)
    if not files:
        raise InputError(f"the folder {path.name!r} contains no images; it needs one sub-folder of images per class")
    pictures = [_read_image(file) for file in files]
    size = size or collections.Counter(picture.size for picture in pictures).most_common(1)[0][0]
    resized = [picture if picture.size == size else picture.resize(size) for picture in pictures]
    return np.stack([np.asarray(picture) for picture in resized]), np.asarray(labels, np.int64), names, size


def _read_image(file: pathlib.Path) -> Any:
    """Reads one image in color."""
    try:
        with extras.load("PIL.Image").open(file) as picture:
            return picture.convert("RGB")
    except (OSError, ValueError) as error:
        raise InputError(f"the image {file.name} cannot be read: {format_error(error)}") from error
