"""The functions of `keras_reg.ops` that are documented with an example, exported or not."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable
from typing import Any

import keras_reg


def op_functions() -> dict[str, Callable[..., Any]]:
    """Returns the functions by name."""
    functions = {}
    for module_info in pkgutil.iter_modules(keras_reg.ops.__path__):
        module = importlib.import_module(f"keras_reg.ops.{module_info.name}")
        for name, function in vars(module).items():
            own = inspect.isfunction(function) and function.__module__ == module.__name__
            if own and "Example:" in (inspect.getdoc(function) or ""):
                functions[name] = function
    return functions


#: The functions as attributes.
ops_of_package = types.SimpleNamespace(**op_functions())
