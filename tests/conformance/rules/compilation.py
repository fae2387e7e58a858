"""Rule 4: compiled steps equal eager steps, and a step is traced only once."""

from __future__ import annotations

import dataclasses
import sys

import keras
import numpy as np

from tests.conformance.case import At, Case, Trial, assert_same, recorded
from tests.conformance.rules import rule
from tests.support.lowered import only_what_accelerators_run

BACKEND = keras.backend.backend()


#: The ways to compile a step. On CPUs, Keras uses XLA only on request.
MODES = {"graph": {"jit_compile": False}, "XLA": {"jit_compile": True}}
DEFAULT = "graph" if BACKEND == "tensorflow" else "XLA"


@dataclasses.dataclass(frozen=True)
class Run:
    """Holds the results of two epochs of two full batches.

    Attributes:
        numbers: The weights, the state and the logged terms.
        calls: The number of Python calls of traced code up to each step.
    """

    numbers: dict[str, np.ndarray]
    calls: list[int]


def run(case: Case, mode: str) -> Run:
    """Trains in a mode. A program for XLA must also run on a TPU, so it must have static shapes and no host calls."""

    def train() -> Run:
        trial = Trial(case, samples=16, **MODES.get(mode, {"run_eagerly": True}))
        with only_what_accelerators_run(mode == "XLA"):
            calls, logs = python_calls(trial)
        return Run({**trial.weights(), **trial.state(), **{name: logs[name] for name in case.terms}}, calls)

    return recorded(case, mode, train)


@rule(4, backends=("tensorflow", "jax"), depends_on="class", implied_by="reference")
def eager_equals_compiled(case: Case) -> None:
    assert_same(run(case, DEFAULT).numbers, run(case, "eager").numbers, f"{DEFAULT} differs from eager", 2e-5)


@rule(4, backends=("tensorflow",))
def eager_equals_xla(case: Case) -> None:
    """Applies to TensorFlow only, because on JAX the rule above already compiles with XLA."""
    assert_same(run(case, "XLA").numbers, run(case, "eager").numbers, "XLA differs from eager", 2e-5)


@rule(4, backends=("tensorflow", "jax"))
def nothing_is_traced_after_the_first_step(case: Case) -> None:
    """Checks that Python code runs only while a step is traced, which is in the first step for full batches."""
    calls = run(case, DEFAULT).calls
    assert calls[-1] == calls[0], f"{DEFAULT}: {calls} calls of Python after each step"


@rule(4, backends=("tensorflow",))
def nothing_is_traced_after_the_first_step_by_xla(case: Case) -> None:
    calls = run(case, "XLA").calls
    assert calls[-1] == calls[0], f"XLA: {calls} calls of Python after each step"


@rule(4, backends=("tensorflow", "jax"))
def a_ragged_last_batch_is_traced_once(case: Case) -> None:
    calls, _ = python_calls(Trial(case, samples=12, **MODES[DEFAULT]))
    assert calls[-1] == calls[1], f"{DEFAULT}: {calls} calls of Python after each step, 2 steps an epoch"


def python_calls(trial: Trial) -> tuple[list[int], dict[str, list[float]]]:
    """Trains two epochs. Returns the number of Python calls of traced code up to each step, and the logs."""
    count, after_step = 0, []
    code = traced_code(trial)

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call" and frame.f_code in code

    def note(self, batch, logs):
        after_step.append(count)

    sys.setprofile(profile)
    try:
        logs = trial.fit(epochs=2, after=[At(on_train_batch_end=note)]).history
    finally:
        sys.setprofile(None)
    assert after_step[0] > 0, f"none of {sorted(c.co_name for c in code)} was traced: the case tests nothing"
    return after_step, logs


def traced_code(trial: Trial) -> set:
    """Returns the code that is traced into the step: the model's loss and the functions of the method."""
    names = ("terms", "rewrite_targets", "call", "__call__", "update_state", "update_step", "effective", "apply")
    functions = [getattr(type(trial.method), name, None) for name in names]
    return {f.__code__ for f in [*functions, keras.Model.compute_loss] if hasattr(f, "__code__")}
