"""Reads the call stack, to find what Keras does not pass to the objects that it calls."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator


def frames() -> Iterator[types.FrameType]:
    """Yields the frames above the function that calls this one, from the inside out."""
    # Frame 0 is this generator's and frame 1 is the caller's, wherever it iterates.
    frame = sys._getframe(1).f_back
    while frame is not None:
        yield frame
        frame = frame.f_back
