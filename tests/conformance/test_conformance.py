"""Every public class through every rule."""

from __future__ import annotations

import pytest

from tests.conformance.cases import CASES
from tests.conformance.rules import load_all

RULES = load_all()


def crossed():
    for case in CASES:
        for name, rule in RULES.items():
            if name in case.not_applicable:  # the reason stands with the case
                continue
            reason = case.known_failures.get(name)
            marks = (
                [pytest.mark.xfail(reason=reason, raises=(AssertionError, RecursionError), strict=True)]
                if reason
                else []
            )
            yield pytest.param(case, rule, marks=marks, id=f"{case.name}-{rule.number}-{name}")


@pytest.mark.parametrize(("case", "rule"), list(crossed()))
def test_rule(case, rule):
    reason = rule.only(case)
    if reason:
        pytest.skip(reason)
    rule(case)
