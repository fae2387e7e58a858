"""Measures the seconds that importing keras_reg adds to importing Keras, as the median of fresh processes.

Run `python benchmarks/import_time.py`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

PROGRAM = "import time; import keras; start = time.perf_counter(); import keras_reg; print(time.perf_counter() - start)"


def main() -> None:
    for backend in ("tensorflow", "jax", "torch"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        seconds = []
        for _ in range(5):
            run = subprocess.run(
                [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
            )
            if run.returncode:
                break
            seconds.append(float(run.stdout.split()[-1]))
        if seconds:
            print(f"{backend}: {statistics.median(seconds):.3f} s (from {min(seconds):.3f} to {max(seconds):.3f})")


if __name__ == "__main__":
    main()
