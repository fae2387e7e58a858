"""Tests that the tables of what works with what match the rules."""

from __future__ import annotations

import pytest

from tests.conformance.works_with import written

pytestmark = pytest.mark.any_backend


def test_works_with_tables_match_conformance_rules():
    stale = [path.name for path, text in written().items() if path.read_text() != text]
    assert not stale, f"{stale} are stale: run python -m tests.conformance.works_with"
