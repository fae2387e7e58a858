"""Loads models in a process that does not import this package, and writes their predictions."""

from __future__ import annotations

import sys

from tests.conformance.load_models import load
from tests.support.processes import answer


def load_plain(data: str, *files: str) -> None:
    """Runs `load`, and checks that this package was not imported."""
    load(data, *files)
    if "keras_reg" in sys.modules:
        raise RuntimeError("loading the model imported keras_reg")


if __name__ == "__main__":
    answer(load_plain)
