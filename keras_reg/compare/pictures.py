"""Draws pictures of a comparison, as matplotlib figures and as PNG files."""

from __future__ import annotations

import io
from typing import Any

from keras_reg._validation import check_choice
from keras_reg.compare import plots, suspect_plot
from keras_reg.compare.results import Comparison

_DRAWINGS = {
    "summary": plots.draw_summary,
    "learning-curves": plots.draw_learning_curves,
    "suspected-labels": suspect_plot.draw_suspected_labels,
}


def plot(comparison: Comparison, kind: str = "summary") -> Any:
    """Draws a picture of a comparison.

    Args:
        comparison: A `keras_reg.compare.Comparison`, as `keras_reg.compare.run` returns it.
        kind: String. `"summary"`, `"learning-curves"` or `"suspected-labels"`. Defaults to `"summary"`.

    Returns:
        A matplotlib figure. For `"suspected-labels"`, it is `None` if no compared method suspects labels, or if the
        samples are not images.

    Raises:
        ValueError: If `kind` is unknown.

    Example:

    ```python
    comparison = keras_reg.compare.run("wine", "symmetric:0.4", seeds=1)
    figure = keras_reg.compare.plot(comparison, "learning-curves")
    figure.savefig("curves.png")
    ```
    """
    return _DRAWINGS[check_choice("kind", kind, tuple(_DRAWINGS))](comparison)


def render_png(comparison: Comparison, kind: str) -> bytes | None:
    """Returns a picture as the bytes of a PNG file, or `None` if there is nothing to draw."""
    figure = plot(comparison, kind)
    if figure is None:
        return None
    buffer = io.BytesIO()
    # By default, the file contains the version of matplotlib, so equal results would give different files.
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def render_pngs(comparison: Comparison) -> dict[str, bytes]:
    """Returns the PNG files of all pictures that can be drawn, by name."""
    return {kind: picture for kind in _DRAWINGS if (picture := render_png(comparison, kind))}
