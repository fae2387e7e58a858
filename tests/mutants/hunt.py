"""Runs the tests that can detect a seeded fault, the cheapest ones first, until one fails."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.mutants.mutant import Mutant

BACKENDS = ("torch", "tensorflow", "jax")  # The order is from cheap to expensive tests.
_FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?\.py::.*?)(?: - .*)?$", re.MULTILINE)
_EXPRESSION = re.compile(r"[\w:+\-.\[\]\\/]+")  # Matches what `pytest -k` accepts as one word.


@dataclasses.dataclass(frozen=True)
class Search:
    """Describes a run of pytest: files, backend and tier. `only` is an expression for `-k`."""

    tier: str
    backend: str
    files: tuple[str, ...]
    only: str = ""

    def failed_test(self, copy: pathlib.Path) -> str | None:
        """Returns the first test that fails in a copy of the repository.

        Raises:
            RuntimeError: If pytest could not run.
        """
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *self.files]
        command += ["--full"] * (self.tier == "full") + (["-k", self.only] if self.only else [])
        environment = {
            **os.environ,
            "KERAS_BACKEND": self.backend,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(copy),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "MPLBACKEND": "agg",
        }
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
        if done.returncode in (0, 5):  # 0: all tests passed. 5: no test was selected.
            return None
        failed = _FAILED.search(done.stdout)
        if failed is None:
            raise RuntimeError(f"{self} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return failed[1]


def searches(
    mutant: Mutant, known: dict[str, str] | None, tiers: tuple[str, ...], backends: tuple[str, ...] = BACKENDS
) -> Iterator[Search]:
    """Yields runs that may catch a fault: the last test that caught it, its own tests, its subpackage, and all."""
    if known and known["tier"] in tiers and known["backend"] in backends:
        file, _, name = known["test"].partition("::")
        function = name.partition("[")[0]
        yield Search(known["tier"], known["backend"], (file,), name if _EXPRESSION.fullmatch(name) else function)
    named = tuple(test for test in mutant.tests if "::" not in test)
    cases = [f"{name}-" for file, _, name in (test.partition("::") for test in mutant.tests) if name]
    room = tuple(f"tests/{name}" for name in (mutant.room, "conformance") if (pathlib.Path("tests") / name).is_dir())
    for tier in tiers:
        for backend in backends:
            if named:
                yield Search(tier, backend, named)
            if cases:
                yield Search(tier, backend, ("tests/conformance/test_conformance.py",), " or ".join(cases))
        for files in (room if mutant.room else (), ("tests",)):
            if files:
                yield from (Search(tier, backend, files) for backend in backends)


def hunt(mutant: Mutant, copy: pathlib.Path, runs: Iterator[Search]) -> dict[str, str] | None:
    """Returns the tier, backend and test that caught a fault, or `None` if it survives."""
    with mutant.applied(copy):
        for search in runs:
            test = search.failed_test(copy)
            if test is not None:
                return {"tier": search.tier, "backend": search.backend, "test": test}
    return None
