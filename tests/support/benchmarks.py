"""Imports scripts from `benchmarks`, which is not a package."""

from __future__ import annotations

import importlib
import pathlib
import sys
import types
from unittest import mock

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks"


def import_benchmark(name: str) -> types.ModuleType:
    """Returns the module `benchmarks/{name}.py`."""
    with mock.patch.object(sys, "path", [str(FOLDER), *sys.path]):
        return importlib.import_module(name)
