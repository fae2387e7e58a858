"""Imports the optional packages of the comparison when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from keras_reg.compare.errors import InputError

_PIP_NAMES = {"sklearn": "scikit-learn", "PIL": "pillow"}


def load(module: str) -> Any:
    """Imports an optional module.

    Args:
        module: The dotted name, for example `"sklearn.datasets"`.

    Returns:
        The module.

    Raises:
        InputError: If the module is not installed. The message names the extra to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        raise InputError(
            f"{_PIP_NAMES.get(top, top)} is needed but cannot be imported; run: pip install 'keras_reg[compare]'"
        ) from error
