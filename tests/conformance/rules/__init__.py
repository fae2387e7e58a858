"""The rules: each a function of a case that raises `AssertionError` if the class breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras

from tests.conformance.case import Case
from tests.support.processes import ask


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        number: Its number in the design.
        function: What holds it.
        own_process: Whether it needs a process of its own, for two devices, say.
        only: What says when it is applicable: a function of a case that returns a reason to skip, or nothing.
        needs: The names of the fields of a case without which it is not.
    """

    number: int
    function: Callable[[Case], None]
    own_process: bool
    only: Callable[[Case], str | None]
    needs: str

    def __call__(self, case: Case) -> None:
        if self.own_process:
            broken = ask("tests.conformance.program", self.function.__name__, case.name)
            if broken:
                raise AssertionError(broken)
        else:
            self.function(case)


RULES: dict[str, Rule] = {}


def rule(
    number: int,
    *,
    own_process: bool = False,
    kinds: tuple[str, ...] = (),
    backends: tuple[str, ...] = ("tensorflow", "jax", "torch"),
    needs: str = "",
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Lists a rule.

    `kinds` and `backends` say where it is applicable, `needs` names the fields of a case without which it is not.
    """

    def only(case: Case) -> str | None:
        if kinds and case.kind not in kinds:
            return f"for {', '.join(kinds)} only"
        if keras.backend.backend() not in backends:
            return f"on {', '.join(backends)} only"
        missing = [field for field in needs.split() if not getattr(case, field)]
        return f"the class has no {', '.join(missing)}" if missing else None

    def add(function: Callable[[Case], None]) -> Callable[[Case], None]:
        RULES[function.__name__] = Rule(number, function, own_process, only, needs)
        return function

    return add


def load_all() -> dict[str, Rule]:
    """Every rule, by the name of its function."""
    from tests.conformance.rules import (  # noqa: F401
        compilation,
        inference,
        messages,
        numbers,
        precision,
        removal,
        replicas,
        resume,
        seeds,
        serialization,
        state,
    )

    return RULES
