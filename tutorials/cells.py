"""The cells of a tutorial, read from its source: a Python file in which `# %%` begins a cell.

Needs nothing but Python, so that a test can compare sources and notebooks.
"""

from __future__ import annotations

import hashlib
import re

MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?\n", re.MULTILINE)
FINGERPRINT = "keras_reg_source"


def cells_of(source: str) -> list[tuple[str, str]]:
    """The kind, `"markdown"` or `"code"`, and the text of each cell.

    Raises:
        ValueError: If there is text before the first cell, or a line of a text cell is no comment.
    """
    marks = list(MARK.finditer(source))
    if not marks or source[: marks[0].start()].strip():
        raise ValueError("A tutorial begins with a cell: the line '# %%' or '# %% [markdown]'.")
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
    """A line of text without the comment sign."""
    if line != "#" and not line.startswith("# "):
        raise ValueError(f"Each line of a text cell begins with '# '. Received: {line!r}")
    return line[2:]


def fingerprint(source: str) -> str:
    """What a notebook keeps of the code that it was run from. Text may change without a run."""
    code = [text for kind, text in cells_of(source) if kind == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()


def difference(source: str, notebook: dict) -> str | None:
    """Why the outputs of a notebook are not those of a source, or `None` if they are."""
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    if cells != cells_of(source):
        return "its cells are not those of the source"
    if notebook["metadata"].get(FINGERPRINT) != fingerprint(source):
        return "it was not run from this code"
    counts = [cell["execution_count"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if counts != list(range(1, len(counts) + 1)):
        return "its cells were not run once each, from top to bottom"
    return None
