"""Tests that the seeded faults match the code, and that all are caught according to the committed table."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from tests.mutants import mutant, table
from tests.mutants.hunt import searches

pytestmark = pytest.mark.any_backend
MUTANTS = mutant.load()


def test_mutants_fit_the_code_and_have_unique_names():
    assert len(MUTANTS) >= 80
    assert len({m.id for m in MUTANTS}) == len(MUTANTS)
    for each in MUTANTS:
        text = (mutant.ROOT / each.file).read_text()
        compile(each.changed(text), each.file, "exec")
        assert each.old != each.new
        assert len(each.why.split()) <= 15, f"{each.id} needs fewer words"
        for test in each.tests:
            assert (mutant.ROOT / test.partition("::")[0]).is_file(), f"{each.id} names {test}"


def test_mutants_come_from_every_room_of_the_package():
    rooms = {path.name for path in (mutant.ROOT / "keras_reg").iterdir() if (path / "__init__.py").exists()}
    assert {m.room for m in MUTANTS} - {""} == rooms


def test_mutant_that_no_longer_fits_is_reported():
    with pytest.raises(ValueError, match="no longer fits"):
        dataclasses.replace(MUTANTS[0], old="not in the file").changed("text")


def test_mutant_is_applied_and_taken_out_again(tmp_path):
    file = tmp_path / "keras_reg" / "x.py"
    file.parent.mkdir()
    file.write_text("a = 1\n")
    fault = mutant.Mutant("x", "keras_reg/x.py", "1", "2", "", ())
    with contextlib.suppress(KeyError), fault.applied(tmp_path):
        assert file.read_text() == "a = 2\n"
        raise KeyError  # This simulates a search that ends with an error.
    assert file.read_text() == "a = 1\n"


def test_mutant_search_begins_with_the_test_that_caught_it_last():
    named = ("tests/ops/test_beta.py", "tests/conformance/test_conformance.py::X")
    fault = dataclasses.replace(MUTANTS[0], tests=named)
    known = {"tier": "fast", "backend": "jax", "test": "tests/ops/test_beta.py::test_name[a b]"}
    runs = list(searches(fault, known, ("fast",)))
    assert (runs[0].backend, runs[0].files, runs[0].only) == ("jax", ("tests/ops/test_beta.py",), "test_name")
    assert runs[1].files == ("tests/ops/test_beta.py",)
    assert runs[2].only == "X-"
    assert runs[-1].files == ("tests",)
    assert {run.tier for run in runs} == {"fast"}
    assert not any(run.tier == "fast" for run in searches(fault, known, ("full",)))


def test_every_mutant_is_caught_by_the_fast_tier():
    found = mutant.caught()
    missing = [m.id for m in MUTANTS if found.get(m.id, {}).get("tier") != "fast"]
    assert not missing, f"run python -m tests.mutants --write {' '.join(missing)}"
    assert set(found) == {m.id for m in MUTANTS}, "caught.json names faults that no longer exist"


def test_table_of_mutants_is_current():
    assert table.PAGE.read_text() == table.page(), "run python -m tests.mutants --write"
