"""What hyperparameters are read as while a step is traced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

_reading = threading.local()  # the replicas of a strategy are traced by a thread each


@contextlib.contextmanager
def override_values(values: Mapping[str, Any]) -> Iterator[set[str]]:
    """While a step is traced, lets hyperparameters be read as other tensors; in this thread.

    Args:
        values: The tensors, by the names of hyperparameters.

    Yields:
        The names that have been read meanwhile.
    """
    names: set[str] = set()
    before, outer = getattr(_reading, "values", {}), getattr(_reading, "names", names)
    _reading.values, _reading.names = {**before, **values}, names
    try:
        yield names
    finally:
        _reading.values, _reading.names = before, outer


def overridden_value(name: str) -> Any:
    """What a hyperparameter of this name is to be read as, in this thread; `None` for its own value."""
    if hasattr(_reading, "names"):
        _reading.names.add(name)
    return getattr(_reading, "values", {}).get(name)
