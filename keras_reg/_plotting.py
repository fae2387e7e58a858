"""Imports Matplotlib, which only the plots need."""

from __future__ import annotations

from typing import Any


def new_figure(**arguments: Any) -> Any:
    """Returns a new `matplotlib.figure.Figure`, which needs no display.

    Args:
        **arguments: The arguments of the figure, such as `figsize`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib. Run: pip install 'keras_reg[compare]'") from error
    return Figure(**arguments)
