"""Tests every public class with every rule."""

from __future__ import annotations

import keras
import pytest

from tests.conformance.cases import CASES
from tests.conformance.mechanisms import representative
from tests.conformance.rules import load_all

RULES = load_all()


def crossed():
    for case in CASES:
        for name, rule in RULES.items():
            if name in case.not_applicable or rule.only(case):  # The case or the rule contains the reason.
                continue
            marks = [pytest.mark.xdist_group(case.name)]  # The rules of one case share recorded runs.
            reason = case.known_failures.get(name)
            if reason:
                marks += [pytest.mark.xfail(reason=reason, raises=(AssertionError, RecursionError), strict=True)]
            of_mechanism = keras.backend.backend() != "torch" and not rule.of_class(case)
            if of_mechanism and case is not representative(case, name, CASES, rule.only):
                marks += [pytest.mark.fast_on("torch")]
            elif of_mechanism:
                marks += [pytest.mark.fast_on("torch", *rule.compiled_on)]
            yield pytest.param(case, rule, marks=marks, id=f"{case.name}-{rule.number}-{name}")


@pytest.mark.parametrize(("case", "rule"), list(crossed()))
def test_class_keeps_rule(case, rule):
    rule(case)
