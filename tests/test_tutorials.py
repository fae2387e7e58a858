"""Tests that the committed notebooks match their sources and stay small. A separate CI stage runs them."""

from __future__ import annotations

import importlib.util
import json
import pathlib
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = ROOT / "tutorials"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
SOURCE = "# %% [markdown]\n# # Title\n#\n# Text\n\n# %%\nx = 1\n\n\n# %%\nprint(x)\n"

pytestmark = pytest.mark.any_backend


@pytest.fixture(scope="module")
def cells() -> Any:
    spec = importlib.util.spec_from_file_location("tutorial_cells", FOLDER / "cells.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook_of(cells: Any, source: str) -> dict[str, Any]:
    """Returns a notebook as a full run writes it, without outputs."""
    found, count = [], 0
    for kind, text in cells.cells_of(source):
        found.append({"cell_type": kind, "source": text})
        if kind == "code":
            count += 1
            found[-1]["execution_count"] = count
    return {"cells": found, "metadata": {cells.FINGERPRINT: cells.fingerprint(source)}}


def test_tutorial_sources_and_notebooks_correspond():
    sources = {path.stem for path in FOLDER.glob("*.py") if path.read_text().startswith("# %%")}
    assert set(NAMES) == sources
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_tutorial_notebook_matches_source(cells, name):
    notebook = json.loads((FOLDER / f"{name}.ipynb").read_text())
    assert cells.difference((FOLDER / f"{name}.py").read_text(), notebook) is None


@pytest.mark.parametrize("name", NAMES)
def test_tutorial_notebook_is_small_with_picture_and_without_error(name):
    file = FOLDER / f"{name}.ipynb"
    assert file.stat().st_size < 300_000
    outputs = [output for cell in json.loads(file.read_text())["cells"] for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("name", NAMES)
def test_readme_links_to_tutorial(name):
    assert f"(tutorials/{name}.ipynb)" in (ROOT / "README.md").read_text()


def test_tutorial_cells_are_parsed(cells):
    assert cells.cells_of(SOURCE) == [("markdown", "# Title\n\nText"), ("code", "x = 1"), ("code", "print(x)")]


@pytest.mark.parametrize("source", ["x = 1\n" + SOURCE, "x = 1\n", "# %% [markdown]\nno comment\n"])
def test_tutorial_cells_reject_other_sources(cells, source):
    with pytest.raises(ValueError, match="cell"):
        cells.cells_of(source)


def test_tutorial_difference_detects_outputs_of_other_code(cells):
    edited = SOURCE.replace("x = 1", "x = 2")
    assert cells.difference(SOURCE, notebook_of(cells, SOURCE)) is None
    assert "not those of the source" in cells.difference(edited, notebook_of(cells, SOURCE))
    # If both files are edited by hand, the hash in the notebook still belongs to the source that was run.
    by_hand = notebook_of(cells, edited)
    by_hand["metadata"] = notebook_of(cells, SOURCE)["metadata"]
    assert "not run from this code" in cells.difference(edited, by_hand)


def test_tutorial_difference_detects_cells_run_out_of_order(cells):
    notebook = notebook_of(cells, SOURCE)
    notebook["cells"][1]["execution_count"] = 3
    assert "top to bottom" in cells.difference(SOURCE, notebook)


def test_tutorial_fingerprint_ignores_text_cells(cells):
    assert cells.fingerprint(SOURCE) == cells.fingerprint(SOURCE.replace("Text", "Other text"))
