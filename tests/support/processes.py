"""Python in a process of its own, in the repository, with two devices in sight."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import keras

ROOT = pathlib.Path(__file__).parents[2]


def run_python(*arguments: str, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Runs Python to its end.

    Raises:
        RuntimeError: If the exit status is none of the accepted ones, with the end of what was printed.
    """
    environment = {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500
    )
    if done.returncode not in accepted:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done
