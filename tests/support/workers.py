"""Runs several TensorFlow workers on this machine, each in its own process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from tests.support.processes import ROOT


def free_ports(count: int) -> list[int]:
    """Returns free ports of the loopback interface."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start_workers(program: str, *arguments: str, count: int = 2) -> list[subprocess.Popen[str]]:
    """Starts a program on several workers, which know the addresses of each other."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    environment = {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            cwd=ROOT,
            env={**environment, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(count)
    ]


def ended(workers: list[subprocess.Popen[str]], seconds: float = 250) -> list[tuple[int, str]]:
    """Waits for the workers in order, and returns the exit status and output of each.

    Raises:
        TimeoutError: If a worker does not end within `seconds` after the one before it. The message contains the end of
            its output. All workers are killed.
    """
    results = []
    for worker in workers:
        try:
            text, _ = worker.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for each in workers:
                each.kill()
            raise TimeoutError(f"A worker has not ended:\n{worker.communicate()[0][-4000:]}") from None
        results.append((worker.returncode, text))
    return results
