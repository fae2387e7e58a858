"""Tests that the page of the golden numbers lists every file and every key."""

from __future__ import annotations

import fnmatch
import pathlib
import re

import numpy as np
import pytest

pytestmark = pytest.mark.any_backend

GOLDEN = pathlib.Path(__file__).parent / "golden"


def documented_keys(text: str) -> dict[str, list[str]]:
    """Returns the patterns of keys in the tables of each file's section."""
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    patterns = {}
    for section in sections:
        title, body = section.split("\n", 1)
        _, _, rows = body.partition("| keys | shape | dtype | meaning |\n")
        first_cells = [line.split("|")[1] for line in rows.splitlines() if line.startswith("|")]
        patterns[title] = [pattern for cell in first_cells for pattern in re.findall(r"`([^`]+)`", cell)]
    return patterns


def test_every_golden_file_and_key_is_documented():
    documented = documented_keys((GOLDEN / "README.md").read_text())
    files = {path.name: path for path in GOLDEN.glob("*.npz")}
    differing = {title for title in documented if title.endswith(".npz")} ^ set(files)
    assert not differing, f"not both in tests/golden and in its README: {sorted(differing)}"
    for name, path in files.items():
        with np.load(path, allow_pickle=False) as arrays:
            keys = arrays.files
        unknown = [key for key in keys if not any(fnmatch.fnmatchcase(key, pattern) for pattern in documented[name])]
        assert not unknown, f"{name}: no row of its table names {unknown}"
        stale = [pattern for pattern in documented[name] if not fnmatch.filter(keys, pattern)]
        assert not stale, f"{name}: no key matches {stale}"
