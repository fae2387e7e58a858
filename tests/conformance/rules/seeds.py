"""Rule 10: the same seed repeats a run, bit for bit."""

from __future__ import annotations

from tests.conformance.case import Case, Trial, assert_same
from tests.conformance.rules import rule


@rule(10, compiled_on=("jax",))
def same_seed_same_run(case: Case) -> None:
    results = []
    for _ in range(2):
        trial = Trial(case, architecture="dropout", seed=5)
        logs = trial.fit(shuffle=True).history
        results.append({**trial.weights(), **trial.state(), **{f"log {k}": v for k, v in logs.items()}})
    assert_same(results[0], results[1], "the same seed gives different numbers", case.between_traces)
