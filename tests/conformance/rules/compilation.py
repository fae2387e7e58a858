"""Rule 4: compiled as not compiled, and compiled once."""

from __future__ import annotations

import sys

import keras

from tests.conformance.case import At, Case, Trial, assert_same
from tests.conformance.rules import rule
from tests.support.lowered import only_what_accelerators_run

BACKEND = keras.backend.backend()


def modes() -> dict[str, dict[str, bool]]:
    """`jit_compile=True` must be asked for: by itself Keras leaves XLA off on a processor."""
    eager = {"eager": {"run_eagerly": True}}
    if BACKEND == "tensorflow":
        return {**eager, "graph": {"jit_compile": False}, "XLA": {"jit_compile": True}}
    return {**eager, "XLA": {"jit_compile": True}}


@rule(4, backends=("tensorflow", "jax"))
def eager_equals_compiled(case: Case) -> None:
    """What XLA compiles would run on a TPU too: it calls no host, and has static shapes."""
    results = {}
    for mode, arguments in modes().items():
        trial = Trial(case, samples=8, **arguments)
        with only_what_accelerators_run(mode == "XLA"):
            logs = trial.fit(epochs=2).history
        results[mode] = {**trial.weights(), **trial.state(), **{name: logs[name] for name in case.terms}}
    for mode, result in results.items():
        assert_same(result, results["eager"], f"{mode} is not eager", 2e-5)


@rule(4, backends=("tensorflow", "jax"))
def nothing_is_traced_after_the_first_step(case: Case) -> None:
    """Python runs while a step is traced, and no more: with full batches in the first step only."""
    for mode, arguments in modes().items():
        if mode != "eager":
            # Else the rule above looks at what XLA compiles.
            with only_what_accelerators_run(mode == "XLA" and "eager_equals_compiled" in case.not_applicable):
                calls = python_calls(case, 16, arguments)
            assert calls[-1] == calls[0], f"{mode}: {calls} calls of Python after each step"


@rule(4, backends=("tensorflow", "jax"))
def a_ragged_last_batch_is_traced_once(case: Case) -> None:
    _, (mode, arguments), *_ = modes().items()
    calls = python_calls(case, 12, arguments)
    assert calls[-1] == calls[1], f"{mode}: {calls} calls of Python after each step, 2 steps an epoch"


def python_calls(case: Case, samples: int, arguments: dict[str, bool]) -> list[int]:
    """How often what is compiled had run in Python after each step of two epochs."""
    trial = Trial(case, samples=samples, **arguments)
    count, after_step = 0, []
    code = traced_code(trial)

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call" and frame.f_code in code

    def note(self, batch, logs):
        after_step.append(count)

    sys.setprofile(profile)
    try:
        trial.fit(epochs=2, after=[At(on_train_batch_end=note)])
    finally:
        sys.setprofile(None)
    assert after_step[0] > 0, f"none of {sorted(c.co_name for c in code)} was traced: the case tests nothing"
    return after_step


def traced_code(trial: Trial) -> set:
    """What is traced into the step: the model's loss, and the method's own functions where it has such."""
    names = ("terms", "rewrite_targets", "call", "__call__", "update_state", "update_step", "effective", "apply")
    functions = [getattr(type(trial.method), name, None) for name in names]
    return {f.__code__ for f in [*functions, keras.Model.compute_loss] if hasattr(f, "__code__")}
