"""A public class that is in neither list fails."""

from __future__ import annotations

import inspect
import types

import keras_reg
from tests.conformance.cases import CASES, NOT_METHODS
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


def test_every_public_class_is_a_case_or_no_method():
    cases = {case.cls for case in CASES}
    listed = {name for name, cls in public_classes().items() if cls in cases}
    assert listed | set(NOT_METHODS) == set(public_classes())
    assert not listed & set(NOT_METHODS)


def test_registry_and_namespaces_agree():
    registered = {f"keras_reg.{method.name}": method.cls for method in keras_reg.list_methods()}
    assert registered == {name: cls for name, cls in public_classes().items() if name not in NOT_METHODS}
    assert {case.cls: case.kind for case in CASES} == {m.cls: m.kind for m in keras_reg.list_methods()}
    assert len({case.name for case in CASES}) == len(CASES), "two cases of one class need variants"


def test_reasons_name_rules():
    for case in CASES:
        exceptions = {**case.not_applicable, **case.known_failures}
        assert set(exceptions) <= set(load_all()), exceptions
        assert all(exceptions.values()), "an exception needs a reason"


def test_a_class_that_is_not_listed_is_found(monkeypatch):
    monkeypatch.setattr(keras_reg.ops, "Forgotten", type("Forgotten", (), {}), raising=False)
    monkeypatch.setattr(keras_reg.ops, "__all__", [*keras_reg.ops.__all__, "Forgotten"])
    assert "keras_reg.ops.Forgotten" in public_classes()
