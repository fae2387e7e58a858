"""The rules: each a function of a case that raises `AssertionError` if the class breaks it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import keras

from tests.conformance.case import Case
from tests.support.two_devices import call_on_two_devices


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule.

    Attributes:
        number: Its number in the design.
        function: What holds it.
        own_process: Whether it needs a process of its own, for two devices, say.
        only: What says when it is applicable: a function of a case that returns a reason to skip, or nothing.
        needs: The names of the fields of a case without which it is not.
        depends_on: `"class"` where each class can break it on each backend by itself: the fast tier runs it for every
            class. `"mechanism"` where what could break it is shared: on TensorFlow and JAX, whose steps are compiled
            and take seconds, the fast tier runs it for one class of each mechanism.
        implied_by: A field of a case that shows the rule for the class in another way, such as the numbers of a
            compiled run that every backend must give. The rule then depends on the mechanism only.
        compiled_on: Of TensorFlow and JAX, those on which the fast tier runs it for mechanisms: the one whose way of
            training it concerns most, if the other could break it only together with PyTorch. JAX hands weights over
            to its steps and threads all state through them; TensorFlow keeps traced functions and variables.
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
    """Lists a rule.

    `kinds` and `backends` say where it is applicable, `needs` names the fields of a case without which it is not, and
    `depends_on`, `implied_by` and `compiled_on` what of it the fast tier runs: see `Rule`.
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
