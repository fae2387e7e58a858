"""Writes which conformance rules each class passes: `python -m tests.conformance.works_with` updates the docs."""

from __future__ import annotations

import pathlib
import re

import keras_reg
from tests.conformance.case import Case
from tests.conformance.cases import CASES
from tests.conformance.mechanisms import MECHANISMS, representative
from tests.conformance.rules import load_all

DOCS = pathlib.Path(__file__).parents[2] / "docs"
START, END = "<!-- written by tests/conformance/works_with.py -->", "<!-- to here -->"

#: The columns of the table. For a mark, all rules of the column must hold.
COLUMNS = {
    "same numbers on the three backends": ("training_equals_the_other_backends",),
    "compiled (graph, XLA)": (
        "eager_equals_compiled",
        "eager_equals_xla",
        "nothing_is_traced_after_the_first_step",
        "nothing_is_traced_after_the_first_step_by_xla",
    ),
    "two replicas": ("two_replicas_equal_one",),
    "16-bit floats": ("mixed_float16", "mixed_bfloat16"),
    "resumes exactly": ("resumed_by_backup_and_restore", "resumed_from_a_saved_model"),
    "repeats exactly": ("same_seed_same_run",),
    "loads in a new process": ("saved_model_loads_in_a_fresh_process",),
    "evaluation unaffected": ("validation_during_fit_is_plain", "evaluation_after_fit_is_plain"),
}

HEAD = """# What works with what

Every public method goes through the rules of `tests/conformance`. `python -m tests.conformance.works_with` writes this
page from the rules, and a test checks that the two agree.

- ✔: tests show this for the class itself.
- (✔): tests show this for the class on PyTorch, and for another class with the same [mechanism](#mechanisms) on
  TensorFlow, on JAX or on both.
- ✘: the test fails, and is expected to fail: see [Known failures](#known-failures).
- An empty cell: the rule does not apply to the class: see [Why a cell is empty](#why-a-cell-is-empty).

Compilation and replicas are tested on TensorFlow and JAX only. Some properties, such as error messages, can only break
on these two if they break on PyTorch too. They are tested on PyTorch and on one of the two. `pytest --full` runs every
rule for every class on every backend. TensorFlow and JAX run both compiled and eager, and PyTorch runs eager. Two
replicas are two logical devices of one CPU: `MirroredStrategy` on TensorFlow and `DataParallel` on JAX.

"""


def written() -> dict[pathlib.Path, str]:
    """Returns the current texts of the page of all methods and of the cards, by path."""
    cases = [case for case in CASES if not case.variant and case.kind != "metric"]
    cases = sorted(cases, key=lambda case: (case.kind, case.name))
    page = f"{HEAD}{table(cases)}\n\n## Mechanisms\n\n{mechanisms()}\n\n## Known failures\n\n{failures()}"
    page += f"\n\n## Why a cell is empty\n\nEach entry names classes, columns and a reason.\n\n{reasons(cases)}\n"
    return {DOCS / "works_with.md": page, **{card: with_rows(card, cases) for card in cards()}}


def cards() -> list[pathlib.Path]:
    return [path for path in sorted(DOCS.glob("*.md")) if "\n## Works with\n" in path.read_text()]


def with_rows(card: pathlib.Path, cases: list[Case]) -> str:
    """Returns the text of a card, with the rows of its classes below the heading `Works with`."""
    before = re.sub(f"{START}.*?{END}\n\n", "", card.read_text(), flags=re.DOTALL)
    names = {method.cls: f"`{method.name}`" for method in keras_reg.list_methods()}
    mine = [case for case in cases if names.get(case.cls, "-") in before]
    mine = [case for case in mine if any(cell(case, rules) for rules in COLUMNS.values())]
    if not mine:
        return before
    link = "The columns are [rules for every class](works_with.md). See also [what composes](composing.md)."
    rows = f"{START}\n\n{table(mine)}\n\n{link}\n{END}"
    return before.replace("\n## Works with\n\n", f"\n## Works with\n\n{rows}\n\n")


def table(cases: list[Case]) -> str:
    rows = [["method", "kind", *COLUMNS], ["---"] * (2 + len(COLUMNS))]
    rows += [[f"`{case.name}`", case.kind, *(cell(case, rules) for rules in COLUMNS.values())] for case in cases]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def cell(case: Case, rules: tuple[str, ...]) -> str:
    if any(rule in case.known_failures for rule in rules):
        return "✘"
    every = load_all()
    if any(rule in case.not_applicable or needs(case, every[rule].needs) for rule in rules):
        return ""
    return "✔" if all(is_shown_for(case, rule) for rule in rules) else "(✔)"


def is_shown_for(case: Case, rule: str) -> bool:
    """Returns True if the fast tier runs a rule for this class on every backend that has what the rule tests."""
    found = load_all()[rule]
    return found.of_class(case) or case is representative(case, rule, CASES, lambda c: needs(c, found.needs))


def mechanisms() -> str:
    """Returns a table of the mechanisms, with the class that represents each on TensorFlow and JAX."""
    rows = ["| mechanism | representative | other classes |", "| --- | --- | --- |"]
    for name, mechanism in MECHANISMS.items():
        alike = [c.name for c in CASES if c.mechanism == name and c.name != mechanism.representative]
        others = ", ".join(f"`{other}`" for other in alike)
        rows.append(f"| {name}: {mechanism.description} | `{mechanism.representative}` | {others} |")
    return "\n".join(rows)


def needs(case: Case, fields: str) -> list[str]:
    return [field for field in fields.split() if not getattr(case, field)]


def failures() -> str:
    lines = [f"- `{case.name}`: {text(why)}" for case in CASES for why in dict.fromkeys(case.known_failures.values())]
    return "\n".join(lines) or "None."


def reasons(cases: list[Case]) -> str:
    """Returns a line for each reason, with the classes and the empty columns that it explains."""
    lines: dict[str, list[str]] = {}
    for case in cases:
        by_reason: dict[str, list[str]] = {}
        for column, rules in COLUMNS.items():
            for why in dict.fromkeys(case.not_applicable[rule] for rule in rules if rule in case.not_applicable):
                by_reason.setdefault(why, []).append(column)
        for why, columns in by_reason.items():
            lines.setdefault(f"{', '.join(columns)}. Reason: {text(why)}", []).append(f"`{case.name}`")
    return "\n".join(f"- {', '.join(names)}: {line}." for line, names in lines.items())


def text(reason: str) -> str:
    return reason.replace("\n", " ").rstrip(".")


if __name__ == "__main__":
    for path, text_of_page in written().items():
        path.write_text(text_of_page)
