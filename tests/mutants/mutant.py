"""Seeded faults, and how they are applied to a copy of the repository."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Iterator

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parents[1]
CAUGHT = FOLDER / "caught.json"
#: The files that tests read, in addition to the package and the tests.
COPIED = ("keras_reg", "tests", "docs", "examples", "benchmarks", "tutorials", ".ci", ".github")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """Describes a seeded fault.

    Attributes:
        id: The name of the fault: its subpackage, and what is wrong.
        file: The changed file.
        old: The text that is replaced. It must occur exactly once in the file.
        new: The replacement.
        why: The effect that a user would see.
        tests: Test files that should fail, most promising first. `test_conformance.py::CASE` names one case.
    """

    id: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]

    @property
    def room(self) -> str:
        """Returns the subpackage that the file belongs to. It is empty for files at the top level."""
        parts = pathlib.PurePath(self.file).parts
        return parts[1] if len(parts) > 2 else ""

    def changed(self, text: str) -> str:
        """Returns the text of the file with the fault.

        Raises:
            ValueError: If the old text does not occur exactly once in the file.
        """
        if text.count(self.old) != 1:
            raise ValueError(
                f"Mutant {self.id} no longer fits {self.file}: the old text occurs {text.count(self.old)} times. "
                "Adapt it to the code, or replace it with another fault of the same kind."
            )
        return text.replace(self.old, self.new)

    @contextlib.contextmanager
    def applied(self, copy: pathlib.Path) -> Iterator[None]:
        """Applies the fault to a copy of the repository within the context."""
        file = copy / self.file
        text = file.read_text()
        file.write_text(self.changed(text))
        try:
            yield
        finally:
            file.write_text(text)


def load() -> list[Mutant]:
    """Returns every seeded fault, from the JSON files beside this module."""
    files = sorted(file for file in FOLDER.glob("*.json") if file != CAUGHT)
    entries = [entry for file in files for entry in json.loads(file.read_text())]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def caught() -> dict[str, dict[str, str]]:
    """Returns the tier, the backend and the test that caught each fault in the last run."""
    return json.loads(CAUGHT.read_text()) if CAUGHT.exists() else {}


def copy_repository(to: pathlib.Path) -> pathlib.Path:
    """Copies what the tests need, without compiled Python files, which could outlive a fault."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy2(file, to / file.name)
    return to
