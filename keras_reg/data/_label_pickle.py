"""Reads pickled dictionaries of label arrays without running code from the file.

A pickle names functions that the reader calls. This reader replaces each name that a NumPy array needs with a small
function of this module, which accepts only integer arrays. It rejects every other name.
"""

from __future__ import annotations

import collections
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_reg._types import Array

# PyTorch files in the format before zip archives begin with this number.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


class _ArrayClass:
    """Replaces the class `numpy.ndarray`, which a pickle names and never calls."""


class _DtypeStandIn:
    """Replaces `numpy.dtype(code)`, for integers and for the object array that wraps the whole file."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[iu][1248]|O8?", code):
            raise pickle.UnpicklingError(f"labels must be integers, but the file has the type {code!r}")
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = {"<": "<", ">": ">"}.get(state[1], "=")

    def to_integer_dtype(self) -> np.dtype[Any]:
        if self.code.startswith("O"):
            raise pickle.UnpicklingError("labels must be integers, but the file has objects")
        return np.dtype(self.order + self.code)


class _ArrayStandIn:
    """Replaces an array, whose content the pickle sets afterwards."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, _, content = state  # Vectors of labels are equal in C and Fortran order.
        if isinstance(content, list):  # `numpy.save` wraps a dictionary in an array of objects.
            if shape != () or len(content) != 1:
                raise pickle.UnpicklingError("labels must be integers, but the file has an array of objects")
            self.value = content[0]
        else:
            self.value = np.frombuffer(content, dtype.to_integer_dtype()).reshape(shape)


def _scalar(dtype: _DtypeStandIn, content: bytes) -> int:
    return int(np.frombuffer(content, dtype.to_integer_dtype())[0])


def _frombuffer(content: bytes, dtype: _DtypeStandIn, shape: tuple[int, ...], _: str) -> _ArrayStandIn:
    array = _ArrayStandIn()
    array.__setstate__((1, shape, dtype, False, content))
    return array


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the file has text in the encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _DtypeStandIn,
}
for _package in ("numpy.core", "numpy._core"):  # NumPy 1 and NumPy 2 use these names.
    _ALLOWED[_package + ".multiarray", "_reconstruct"] = _ArrayStandIn
    _ALLOWED[_package + ".multiarray", "scalar"] = _scalar
    _ALLOWED[_package + ".numeric", "_frombuffer"] = _frombuffer


class _LabelUnpickler(pickle.Unpickler):
    """Unpickles integer arrays, and rejects every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`, which no label file needs")
        return _ALLOWED[module, name]


def read_label_file(path: Path) -> dict[str, Array]:
    """Reads a dictionary of integer arrays from a `.pt`, `.npy` or `.npz` file.

    Args:
        path: The path of the file.

    Returns:
        The arrays by name, as they are in the file. Lists of integers become arrays.

    Raises:
        ValueError: If the file holds anything but a dictionary of integer arrays or lists. No code of the file runs.
    """
    readers = {".pt": _read_torch, ".npy": _read_npy, ".npz": _read_npz}
    if path.suffix not in readers:
        raise ValueError(f"A label file must end in one of {sorted(readers)}. Received: {str(path)!r}")
    try:
        with path.open("rb") as file:
            content = readers[path.suffix](file)
        if not isinstance(content, dict):
            raise ValueError(f"it does not hold a dictionary of labels, but a value of type {type(content).__name__}")
        return {str(name): _to_integers(name, value) for name, value in content.items()}
    except OSError:
        raise
    except Exception as error:
        # A damaged pickle can raise any exception. All of them mean the same to the caller.
        raise ValueError(f"The file {str(path)!r} is not a readable label file: {error}") from error


def _to_integers(name: Any, value: Any) -> Array:
    array = np.asarray(value.value if isinstance(value, _ArrayStandIn) else value)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{name!r} must be a vector of integers, but it has the shape {array.shape} and the type {array.dtype}"
        )
    return array


def _read_torch(file: BinaryIO) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            members = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
            if len(members) != 1:
                raise ValueError("the archive has no data.pkl")
            return _LabelUnpickler(io.BytesIO(archive.read(members[0]))).load()
    file.seek(0)
    if _LabelUnpickler(file).load() != LEGACY_MAGIC:
        raise ValueError("it does not start like a PyTorch file")
    for _ in ("version", "system"):
        _LabelUnpickler(file).load()
    return _LabelUnpickler(file).load()


def _read_npy(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype != np.dtype(object) or shape != ():
        raise ValueError(f"it does not hold a dictionary, but an array of shape {shape} and type {dtype}")
    content = _LabelUnpickler(file).load()
    return content.value if isinstance(content, _ArrayStandIn) else content


def _read_npz(file: BinaryIO) -> Any:
    with np.load(file, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
