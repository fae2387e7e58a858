"""The main job: train one model on noisy labels, plain and with each method, and show what each one did.

`run` is the job as a function; `python -m keras_reg compare` is the same on the command line. Both are loaded on
first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_reg.compare.results import Comparison
    from keras_reg.compare.runner import run

__all__ = ["Comparison", "run"]


def __getattr__(name: str) -> Any:
    """Loads `run` and `Comparison` when they are first asked for."""
    if name == "run":
        from keras_reg.compare.runner import run

        return run
    if name == "Comparison":
        from keras_reg.compare.results import Comparison

        return Comparison
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
