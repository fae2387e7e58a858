"""Describes the environment of a comparison without the names of people or machines."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import keras
import numpy as np

from keras_reg import version

_DISTRIBUTIONS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",), "torch": ("torch",)}


def describe() -> dict[str, Any]:
    """Returns versions, platform, number of processors, and the commit if the package is a Git checkout."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": backend,
        "backend_version": _find_version(*_DISTRIBUTIONS.get(backend, (backend,))),
        "numpy": np.__version__,
        "keras_reg": version.__version__,
        "commit": _find_commit(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
    }


def _find_version(*names: str) -> str | None:
    """Returns the version of the first distribution that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _find_commit() -> str | None:
    """Returns the commit of the checkout that contains the package, or `None`.

    A repository that contains the environment in which the package is installed does not count.
    """
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        result = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None
