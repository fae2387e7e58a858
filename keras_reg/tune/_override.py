"""Replaces the values of hyperparameters while a step is traced."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

from keras_reg._types import Tensor

# A strategy traces each replica in its own thread.
_reading = threading.local()


@contextlib.contextmanager
def override_values(values: Mapping[str, Tensor]) -> Iterator[set[str]]:
    """Replaces the values of hyperparameters with tensors in the current thread, while a step is traced.

    Args:
        values: The tensors, by the names of hyperparameters.

    Yields:
        The names that have been read since. It is updated in place.
    """
    names: set[str] = set()
    before, outer = getattr(_reading, "values", {}), getattr(_reading, "names", names)
    _reading.values, _reading.names = {**before, **values}, names
    try:
        yield names
    finally:
        _reading.values, _reading.names = before, outer


def overridden_value(name: str) -> Tensor | None:
    """Returns the tensor that replaces the value of a hyperparameter in the current thread, or `None`."""
    if hasattr(_reading, "names"):
        _reading.names.add(name)
    return getattr(_reading, "values", {}).get(name)
