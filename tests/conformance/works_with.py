"""What each method works with, as the rules test it: `python -m tests.conformance.works_with` writes it."""

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

#: What a reader asks, and the rules that answer it: all of them must hold.
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
    "files load elsewhere": ("saved_model_loads_in_a_fresh_process",),
    "evaluation is plain": ("validation_during_fit_is_plain", "evaluation_after_fit_is_plain"),
}

HEAD = """# What works with what

Every public method goes through the rules of `tests/conformance`. This page is written from them by
`python -m tests.conformance.works_with`, and a test compares it with them.

- ✔: shown for this class.
- (✔): shown for this class on PyTorch, and for another class with the same mechanism on TensorFlow, on JAX or on both.
- ✘: the test fails and is expected to fail: see below.
- An empty cell: the rule does not apply to this class: see below.

Compilation and replicas are tested on TensorFlow and JAX only. What the two could break only together with PyTorch,
such as the messages of errors, is tested on PyTorch and on one of the two. `pytest --full` runs every rule for every
class on every backend. TensorFlow and JAX run compiled and eager; PyTorch runs eager. Two replicas are two logical
devices of one processor: `MirroredStrategy` on TensorFlow and `DataParallel` on JAX.

"""


def written() -> dict[pathlib.Path, str]:
    """The page of all methods, and the cards with their own rows; what is there already where nothing has changed."""
    cases = [case for case in CASES if not case.variant and case.kind != "metric"]
    cases = sorted(cases, key=lambda case: (case.kind, case.name))
    page = f"{HEAD}{table(cases)}\n\n## Mechanisms\n\n{mechanisms()}\n\n## Known failures\n\n{failures()}"
    page += f"\n\n## Why a cell is empty\n\n{reasons(cases)}\n"
    return {DOCS / "works_with.md": page, **{card: with_rows(card, cases) for card in cards()}}


def cards() -> list[pathlib.Path]:
    return [path for path in sorted(DOCS.glob("*.md")) if "\n## Works with\n" in path.read_text()]


def with_rows(card: pathlib.Path, cases: list[Case]) -> str:
    """The card with the rows of the classes that it is about below its heading."""
    before = re.sub(f"{START}.*?{END}\n\n", "", card.read_text(), flags=re.DOTALL)
    names = {method.cls: f"`{method.name}`" for method in keras_reg.list_methods()}
    mine = [case for case in cases if names.get(case.cls, "-") in before]
    mine = [case for case in mine if any(cell(case, rules) for rules in COLUMNS.values())]
    if not mine:
        return before
    link = "Of the rules that every class goes through: [what is tested](works_with.md). [What composes](composing.md)."
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
    """A table of what classes share, and which class shows it on TensorFlow and JAX."""
    rows = ["| mechanism | shown by | also |", "| --- | --- | --- |"]
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
    """For each class and reason, the columns that it empties; classes with the same share a line."""
    lines: dict[str, list[str]] = {}
    for case in cases:
        by_reason: dict[str, list[str]] = {}
        for column, rules in COLUMNS.items():
            for why in dict.fromkeys(case.not_applicable[rule] for rule in rules if rule in case.not_applicable):
                by_reason.setdefault(why, []).append(column)
        for why, columns in by_reason.items():
            lines.setdefault(f"{', '.join(columns)}: {text(why)}", []).append(f"`{case.name}`")
    return "\n".join(f"- {', '.join(names)}. {line}." for line, names in lines.items())


def text(reason: str) -> str:
    return reason.replace("\n", " ").rstrip(".")


if __name__ == "__main__":
    for path, text_of_page in written().items():
        path.write_text(text_of_page)
