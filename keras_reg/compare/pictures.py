"""Pictures of a comparison by name, as figures and as PNG files."""

from __future__ import annotations

import io
from typing import Any

from keras_reg.compare import plots, suspect_plot
from keras_reg.compare.results import Comparison

_DRAWINGS = {
    "summary": plots.summary,
    "learning-curves": plots.learning_curves,
    "suspected-labels": suspect_plot.suspected_labels,
}


def plot(comparison: Comparison, kind: str = "summary") -> Any:
    """Draws a picture of a comparison.

    Args:
        comparison: The comparison that `keras_reg.compare.run` returned.
        kind: `"summary"`, `"learning-curves"` or `"suspected-labels"`. Defaults to `"summary"`.

    Returns:
        A matplotlib figure. `None` if there is nothing to draw: no compared method suspects labels, or the samples
        are not images.

    Raises:
        ValueError: If `kind` is unknown.

    Example:

    ```python
    comparison = keras_reg.compare.run("wine", "symmetric:0.4", seeds=1)
    keras_reg.compare.plot(comparison, "learning-curves").savefig("curves.png")
    ```
    """
    if kind not in _DRAWINGS:
        raise ValueError(f"`kind` must be one of {tuple(_DRAWINGS)}. Received: kind={kind!r}")
    return _DRAWINGS[kind](comparison)


def png(comparison: Comparison, kind: str) -> bytes | None:
    """Returns a picture as the bytes of a PNG file, or `None` if there is nothing to draw."""
    figure = plot(comparison, kind)
    if figure is None:
        return None
    buffer = io.BytesIO()
    # Without this, the file would name the version of matplotlib, and equal results would give unequal files.
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def all_pngs(comparison: Comparison) -> dict[str, bytes]:
    """Returns every picture that can be drawn, by name."""
    return {kind: picture for kind in _DRAWINGS if (picture := png(comparison, kind))}
