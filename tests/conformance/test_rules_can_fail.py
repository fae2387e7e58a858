"""Tests that each rule fails for at least one broken class. A rule that cannot fail shows nothing."""

from __future__ import annotations

import pytest

from tests.conformance.broken import BROKEN, Broken
from tests.conformance.rules import load_all

RULES = load_all()


def broken_class(broken: Broken) -> object:
    marks = [pytest.mark.fast_on("torch" if "torch" in broken.backends else broken.backends[-1])]
    return pytest.param(broken, id=f"{broken.rule}-{broken.case.name}", marks=marks)


@pytest.mark.parametrize("broken", [broken_class(broken) for broken in BROKEN])
def test_conformance_rule_fails_for_broken_class(broken, backend):
    if backend not in broken.backends:
        pytest.skip(f"broken on {', '.join(broken.backends)} only")
    with pytest.raises(AssertionError, match=broken.message):
        RULES[broken.rule](broken.case)


def test_every_conformance_rule_has_a_broken_class():
    assert {broken.rule for broken in BROKEN} == set(RULES)
    assert {rule.number for rule in RULES.values()} == set(range(1, 12))  # rule 12: tests/test_architecture.py
