"""Tests that `tests/api.txt` lists the public names and signatures, so that reviews show every change to them."""

from __future__ import annotations

import inspect

import pytest

from tests.support import api, methods_page

pytestmark = pytest.mark.any_backend


def test_public_names_and_signatures_are_those_of_the_file():
    assert api.api() == api.FILE.read_text(), "run python -m tests.support.api, and read the difference"


def test_public_names_are_at_most_125_and_have_one_home():
    names = list(api.public_names())
    assert len(names) <= 125
    objects = [id(member) for _, member in names if inspect.isclass(member) or inspect.isfunction(member)]
    assert len(objects) == len(set(objects))


def test_signatures_show_names_and_defaults_without_types():
    def function(x: int, *, strength: float = 0.1, **kwargs: object) -> None:
        pass

    assert api.signature(function) == "(x, *, strength=0.1, **kwargs)"


def test_members_are_those_of_the_package():
    class Own(dict):
        __module__ = "keras_reg.x"

        def method(self, x=1):
            pass

        @property
        def value(self):
            pass

        def _hidden(self):
            pass

    assert list(api.members(Own)) == ["    method(x=1)", "    value"]


def test_page_of_methods_is_that_of_the_registry():
    assert methods_page.page() == methods_page.FILE.read_text(), "run python -m tests.support.methods_page"
    assert len(methods_page.cards()) > 40
