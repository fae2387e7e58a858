"""Runs Python in other processes, in the repository, with two devices of JAX.

Importing TensorFlow takes 5 to 8 s of CPU time. `ask` therefore starts a process once and keeps it. `run_python` is for
tests that need a fresh process.
"""

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
from typing import IO, Any

import keras

ROOT = pathlib.Path(__file__).parents[2]


def run_python(*arguments: str, accepted: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    """Runs Python in a fresh process until it ends.

    Raises:
        RuntimeError: If the exit status is not accepted. The message contains the end of the output.
    """
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=500
    )
    if done.returncode not in accepted:
        raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def ask(module: str, *request: str) -> Any:
    """Sends a request to a process that runs `module`. The process is started once and kept.

    Args:
        module: The name of a module that calls `answer`.
        *request: The arguments of the function that the module passes to `answer`.

    Returns:
        The result of that function, after a round trip through JSON.

    Raises:
        AssertionError: If the function raised one. The message is the same.
        RuntimeError: If the function raised another error, or if the process ended.
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
    except BaseException:  # An answer that comes after a timeout must not be read as the answer to the next request.
        _end(module)
        raise
    if answer is None:
        errors.seek(0)
        printed = errors.read()[-4000:]
        _end(module)
        raise RuntimeError(f"the process of {module} ended at {request}:\n{printed}")
    outcome, value = json.loads(answer.removeprefix(_ANSWER))
    if outcome == "failed assertion":
        raise AssertionError(value)
    if outcome == "error":
        raise RuntimeError(f"{module} failed at {request}:\n{value}")
    return value


def answer(function: Callable[..., Any]) -> None:
    """Calls a function for each request of `ask`, until the process that asks ends.

    A kept process treats requests as `tests/conftest.py` treats tests: each begins with the same seed and with no names
    of layers in use.
    """
    for line in sys.stdin:
        keras.utils.set_random_seed(0)
        try:
            found = json.dumps(["result", function(*json.loads(line))])
        except AssertionError as error:
            found = json.dumps(["failed assertion", str(error) or _place(error)])
        except Exception:
            found = json.dumps(["error", traceback.format_exc()[-4000:]])
        keras.backend.clear_session()
        gc.freeze()  # as tests/conftest.py
        print(_ANSWER + found, flush=True)


def _place(error: AssertionError) -> str:
    """Returns where an assertion without a message failed."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{pathlib.Path(last.filename).name}, line {last.lineno}: {last.line}"


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
