"""Writes the page of all methods from the registry: `python -m tests.support.methods_page` writes `docs/methods.md`."""

from __future__ import annotations

import pathlib
import re

import keras_reg

ROOT = pathlib.Path(__file__).parents[2]
FILE = ROOT / "docs" / "methods.md"
HEAD = """# All methods

This is the registry of the package. `keras_reg.list_methods()` returns the same entries, and
`keras_reg.list_methods(task=...)` returns those for one task. The last column lists the arguments that are worth
tuning, with the smallest and the largest value to try.
"""


def cards() -> dict[str, str]:
    """Returns the card of each class, from the table of the README."""
    rows = re.findall(r"^\|(.*)\[card\]\(docs/(\w+\.md)\)", (ROOT / "README.md").read_text(), re.MULTILINE)
    return {name: card for row, card in rows for name in re.findall(r"`([\w.]+)`", row)}


def number(value: float) -> str:
    """Returns a number as short as possible: 0.001, 1e-05, 3."""
    return f"{value:g}"


def page() -> str:
    """Returns the page."""
    known, lines = cards(), [HEAD]
    tasks = sorted({task for method in keras_reg.list_methods() for task in method.tasks})
    for task in tasks:
        lines += [f"## {task.capitalize()}", "", "| method | place | paper | tunable arguments |", "|---|---|---|---|"]
        for method in keras_reg.list_methods(task=task):
            name = f"`{method.name}`"
            name = f"[{name}]({known[method.name]})" if method.name in known else name
            paper = f"[{method.arxiv}](https://arxiv.org/abs/{method.arxiv}), {method.year}" if method.arxiv else ""
            tunable = ", ".join(
                f"`{key}` {number(values.low)} to {number(values.high)}" for key, values in method.tunable.items()
            )
            lines.append(f"| {name} | {method.place} | {paper} | {tunable} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    FILE.write_text(page())
