"""Python in a process of its own, in the repository, with two devices in sight."""

from __future__ import annotations

import atexit
import gc
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import IO

import keras

ROOT = pathlib.Path(__file__).parents[2]


def run_python(*arguments: str, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Runs Python to its end.

    Raises:
        RuntimeError: If the exit status is none of the accepted ones, with the end of what was printed.
    """
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=500
    )
    if done.returncode not in accepted:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def ask(module: str, *request: str) -> str | None:
    """Has a process that runs `module` do something; it is started once and kept, for starting takes seconds.

    Args:
        module: Calls `answer` with what it does.
        *request: What it is called with.

    Returns:
        The message of the `AssertionError` that it raised, if it did.

    Raises:
        RuntimeError: If it raised something else, or its process ended.
    """
    if module not in _KEPT:
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process runs)
        command = [sys.executable, "-m", module]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors}
        _KEPT[module] = subprocess.Popen(command, cwd=ROOT, env=_environment(), text=True, **pipes), errors
    process, errors = _KEPT[module]
    try:
        print(json.dumps(request), file=process.stdin, flush=True)
        answer = next((line for line in process.stdout if line.startswith(_ANSWER)), None)
    except BaseException:  # an answer that comes after a timeout is not that of the next request
        _end(module)
        raise
    if answer is None:
        errors.seek(0)
        printed = errors.read()[-4000:]
        _end(module)
        raise RuntimeError(f"the process of {module} ended at {request}:\n{printed}")
    broken, failed = json.loads(answer.removeprefix(_ANSWER))
    if failed:
        raise RuntimeError(f"{module} failed at {request}:\n{failed}")
    return broken


def answer(function: Callable[..., None]) -> None:
    """In the kept process: calls a function with what is asked for, until nothing is asked any more."""
    for line in sys.stdin:
        broken = failed = None
        try:
            function(*json.loads(line))
        except AssertionError as error:
            broken = str(error) or "a rule is broken"
        except Exception:
            failed = traceback.format_exc()[-4000:]
        keras.backend.clear_session()
        gc.freeze()  # as tests/conftest.py
        print(_ANSWER + json.dumps([broken, failed]), flush=True)


_ANSWER = "ANSWER "
_KEPT: dict[str, tuple[subprocess.Popen[str], IO[str]]] = {}


@atexit.register
def _end_all() -> None:
    for module in list(_KEPT):
        _end(module)


def _end(module: str) -> None:
    process, errors = _KEPT.pop(module)
    process.kill()
    process.communicate()
    errors.close()


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "KERAS_BACKEND": keras.backend.backend(),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
