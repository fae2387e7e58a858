"""Chooses the Keras backend of a command line, which must happen before Keras is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

BACKENDS = ("tensorflow", "jax", "torch")


def asked_backend(argv: Sequence[str]) -> str | None:
    """Finds `--backend NAME` or `--backend=NAME` among the arguments, without judging it."""
    backend = None
    for position, word in enumerate(argv):
        if word == "--backend" and position + 1 < len(argv):
            backend = argv[position + 1]
        elif word.startswith("--backend="):
            backend = word.partition("=")[2]
    return backend


def active_backend() -> str | None:
    """The backend that Keras runs on in this process, or `None` while Keras is not imported."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.backend.backend())


def restart_with(backend: str, argv: Sequence[str]) -> int:
    """Starts the command again in a fresh interpreter, where the backend is set before Keras is imported.

    Keras is imported together with `keras_reg`, long before a command line is read, and cannot change its backend.

    Args:
        backend: The backend.
        argv: The arguments of the command.

    Returns:
        The exit code, where the process could not be replaced.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend}
    command = [sys.executable, "-m", "keras_reg", *argv]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":
        os.execve(sys.executable, command, environment)
    return subprocess.run(command, env=environment, check=False).returncode
