"""Reads the cells of a tutorial from its source, a Python file in which `# %%` begins a cell.

This module depends only on the standard library, so that a test can compare sources and notebooks.
"""

from __future__ import annotations

import hashlib
import re

MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?\n", re.MULTILINE)
FINGERPRINT = "keras_reg_source"


def cells_of(source: str) -> list[tuple[str, str]]:
    """Returns the kind, `"markdown"` or `"code"`, and the text of each cell.

    Raises:
        ValueError: If there is text before the first cell, or a line of a text cell is not a comment.
    """
    marks = list(MARK.finditer(source))
    if not marks or source[: marks[0].start()].strip():
        raise ValueError("A tutorial must begin with a cell: the line '# %%' or '# %% [markdown]'.")
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    cells = []
    for mark, end in zip(marks, ends, strict=True):
        text = source[mark.end() : end].strip("\n")
        if mark["markdown"]:
            cells.append(("markdown", "\n".join(uncomment(line) for line in text.split("\n"))))
        else:
            cells.append(("code", text))
    return cells


def uncomment(line: str) -> str:
    """Removes the comment sign from a line of a text cell."""
    if line != "#" and not line.startswith("# "):
        raise ValueError(f"Each line of a text cell must begin with '# '. Received: {line!r}")
    return line[2:]


def fingerprint(source: str) -> str:
    """Returns a hash of the code cells, which the notebook stores. Text cells can change without a run."""
    code = [text for kind, text in cells_of(source) if kind == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def difference(source: str, notebook: dict) -> str | None:
    """Returns why the outputs of a notebook do not belong to a source, or `None` if they do."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    if cells != cells_of(source):
        return "its cells are not those of the source"
    if notebook["metadata"].get(FINGERPRINT) != fingerprint(source):
        return "it was not run from this code"
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if counts != list(range(1, len(counts) + 1)):
        return "its cells were not run once each, from top to bottom"
    return None
