"""Selects the Keras backend from the command line, before Keras is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

BACKENDS = ("tensorflow", "jax", "torch")


def find_backend_option(argv: Sequence[str]) -> str | None:
    """Returns the value of `--backend NAME` or `--backend=NAME` in the arguments, without checking it."""
    backend = None
    for position, word in enumerate(argv):
        if word == "--backend" and position + 1 < len(argv):
            backend = argv[position + 1]
        elif word.startswith("--backend="):
            backend = word.partition("=")[2]
    return backend


def get_active_backend() -> str | None:
    """Returns the backend of Keras in this process, or `None` if Keras is not imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.backend.backend())


def restart_with(backend: str, argv: Sequence[str]) -> int:
    """Restarts the command in a new interpreter, where the backend is set before Keras is imported.

    Importing `keras_reg` imports Keras before the command line is read, and Keras cannot change its backend afterwards.

    Args:
        backend: The backend.
        argv: The arguments of the command.

    Returns:
        The exit code. On POSIX systems, the process is replaced and the function does not return.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-m", "keras_reg", *argv]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execve(sys.executable, command, environment)
    return subprocess.run(command, env=environment, check=False).returncode
