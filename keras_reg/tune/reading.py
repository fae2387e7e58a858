"""What hyperparameters are read as while a step is traced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

_reading = threading.local()  # the replicas of a strategy are traced by a thread each


@contextlib.contextmanager
def read_as(values: Mapping[str, Any]) -> Iterator[None]:
    """While a step is traced, lets hyperparameters be read as other tensors; in this thread."""
    before = getattr(_reading, "values", {})
    _reading.values = {**before, **values}
    try:
        yield
    finally:
        _reading.values = before


def given_value(name: str) -> Any:
    """What a hyperparameter of this name is to be read as, in this thread; `None` for its own value."""
    return getattr(_reading, "values", {}).get(name)
