"""Tests that every public class is a conformance case or a listed exception."""

from __future__ import annotations

import dataclasses
import inspect
import types

import keras_reg
from tests.conformance.cases import CASES, NOT_METHODS
from tests.conformance.mechanisms import MECHANISMS, Mechanism, representative, unrepresented
from tests.conformance.rules import load_all


def public_classes(module: types.ModuleType = keras_reg) -> dict[str, type]:
    found = {}
    for name in module.__all__:
        member = getattr(module, name)
        if isinstance(member, types.ModuleType):
            found.update(public_classes(member))
        elif inspect.isclass(member):
            found[f"{module.__name__}.{name}"] = member
    return found


def test_public_classes_are_conformance_cases_or_listed_exceptions():
    cases = {case.cls for case in CASES}
    listed = {name for name, cls in public_classes().items() if cls in cases}
    assert listed | set(NOT_METHODS) == set(public_classes())
    assert not listed & set(NOT_METHODS)


def test_method_registry_agrees_with_namespaces():
    registered = {f"keras_reg.{method.name}": method.cls for method in keras_reg.list_methods()}
    assert registered == {name: cls for name, cls in public_classes().items() if name not in NOT_METHODS}
    assert {case.cls: case.kind for case in CASES} == {m.cls: m.kind for m in keras_reg.list_methods()}
    assert len({case.name for case in CASES}) == len(CASES), "two cases of one class need variants"


def test_conformance_exceptions_name_rules_and_reasons():
    for case in CASES:
        exceptions = {**case.not_applicable, **case.known_failures}
        assert set(exceptions) <= set(load_all()), exceptions
        assert all(exceptions.values()), "an exception needs a reason"


def test_public_classes_include_unlisted_class(monkeypatch):
    monkeypatch.setattr(keras_reg.ops, "Forgotten", type("Forgotten", (), {}), raising=False)
    monkeypatch.setattr(keras_reg.ops, "__all__", [*keras_reg.ops.__all__, "Forgotten"])
    assert "keras_reg.ops.Forgotten" in public_classes()


def test_every_mechanism_of_a_class_has_a_representative():
    assert unrepresented(CASES) == []


def test_class_of_unknown_mechanism_and_missing_representative_are_reported():
    assert unrepresented([dataclasses.replace(CASES[0], mechanism="magic")])[0] == (
        f"{CASES[0].name}: mechanism 'magic' is not listed"
    )
    assert unrepresented(CASES, {**MECHANISMS, "new": Mechanism("", "Nobody")}) == [
        "new: the representative Nobody is none of []"
    ]


def test_representative_of_a_mechanism_is_a_case_to_which_the_rule_applies():
    for case in CASES:
        for name, rule in load_all().items():
            if name in case.not_applicable or rule.only(case):
                continue
            chosen = representative(case, name, CASES, rule.only)
            assert chosen.mechanism == case.mechanism
            assert name not in chosen.not_applicable
            assert not rule.only(chosen)
