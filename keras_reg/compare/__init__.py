"""Compares methods on noisy labels: trains one model without them and with each, and reports the differences.

Call `run` in Python, or run `python -m keras_reg compare` on the command line. The names are imported at their first
use, so that `import keras_reg` does not import scikit-learn or matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reg.compare.pictures import plot
    from keras_reg.compare.report import to_html
    from keras_reg.compare.results import Comparison
    from keras_reg.compare.runner import run

__all__ = ["Comparison", "plot", "run", "to_html"]

_MODULES = {"Comparison": "results", "plot": "pictures", "run": "runner", "to_html": "report"}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
