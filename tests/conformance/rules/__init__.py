"""The rules. Each one is a function of a case that raises an `AssertionError` if the class breaks it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import keras

from tests.conformance.case import Case
from tests.support.two_devices import call_on_two_devices


@dataclasses.dataclass(frozen=True)
class Rule:
    """Describes a rule.

    Attributes:
        number: The number of the rule in the design.
        function: The function that checks the rule.
        own_process: Whether the rule needs a separate process, for example for two devices.
        only: Function of a case. Returns a reason to skip the rule, or `None` if it applies.
        needs: The names of the case fields that the rule requires.
        depends_on: `"class"` if a single class can break the rule on a single backend. The fast tier runs such rules
            for every class. `"mechanism"` if only shared code can break the rule. On TensorFlow and JAX, where
            compiling a step takes seconds, the fast tier runs such rules for one class of each mechanism.
        implied_by: A field of a case that already implies the rule for the class, such as the numbers that every
            backend must produce in a compiled run. The rule then depends on the mechanism only.
        compiled_on: The backends, `"tensorflow"` and `"jax"`, on which the fast tier runs the rule for mechanisms. One
            of them is enough if the other could break the rule only together with PyTorch. JAX passes weights and all
            state through its steps. TensorFlow keeps traced functions and variables.
    """

    number: int
    function: Callable[[Case], None]
    own_process: bool
    only: Callable[[Case], str | None]
    needs: str
    depends_on: str
    implied_by: str
    compiled_on: tuple[str, ...]

    def of_class(self, case: Case) -> bool:
        """Returns True if the fast tier runs the rule for this class on every backend."""
        return self.depends_on == "class" and not (self.implied_by and getattr(case, self.implied_by))

    def __call__(self, case: Case) -> None:
        if self.own_process:
            call_on_two_devices("tests.conformance.rules", "check", self.function.__name__, case.name)
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
    depends_on: str = "mechanism",
    implied_by: str = "",
    compiled_on: tuple[str, ...] = ("tensorflow", "jax"),
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Registers a rule.

    `kinds`, `backends` and `needs` determine where the rule applies. `depends_on`, `implied_by` and `compiled_on`
    determine what the fast tier runs. See `Rule`.
    """

    def only(case: Case) -> str | None:
        if kinds and case.kind not in kinds:
            return f"for {', '.join(kinds)} only"
        if keras.backend.backend() not in backends:
            return f"on {', '.join(backends)} only"
        missing = [field for field in needs.split() if not getattr(case, field)]
        return f"the class has no {', '.join(missing)}" if missing else None

    def add(function: Callable[[Case], None]) -> Callable[[Case], None]:
        RULES[function.__name__] = Rule(number, function, own_process, only, needs, depends_on, implied_by, compiled_on)
        return function

    return add


def check(rule_name: str, case_name: str) -> None:
    """Checks a rule in this process. Warnings are errors, as in the tests."""
    from tests.conformance import broken

    function, case = load_all()[rule_name].function, broken.find(case_name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword", DeprecationWarning)
        function(case)


def load_all() -> dict[str, Rule]:
    """Returns all rules by the name of their function."""
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
