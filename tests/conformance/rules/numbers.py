"""Rules 2 and 3: the numbers are correct, and equal on every backend."""

from __future__ import annotations

import ast

import numpy as np

from tests.conformance.case import BATCH, Case, Trial
from tests.conformance.rules import rule
from tests.support.processes import ROOT


@rule(2, depends_on="class")
def golden_numbers_are_tested(case: Case) -> None:
    """Checks that the tests that the case names exist, and compare values and gradients with golden numbers."""
    assert case.golden, "the case names no test against golden numbers"
    for name in case.golden:
        file, _, function = name.partition("::")
        assert (ROOT / file).is_file(), f"{file} does not exist"
        source = (ROOT / file).read_text()
        found = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == function]
        assert found, f"the test {name} does not exist"
        text = ast.get_source_segment(source, found[0]) or ""
        for word in ("GOLDEN", "loss", "gradient", "assert"):
            assert word in text, f"{name} does not mention {word!r}"


@rule(2, needs="simulate", depends_on="class")
def training_equals_a_simulation(case: Case) -> None:
    """Compares `fit` of a linear softmax model with gradient descent in NumPy over three epochs.

    The data have weights, a smaller last batch, a masked id, and an id that occurs twice in a batch.
    """
    trial = Trial(case, architecture="linear", optimizer="sgd", samples=20, prebuilt=False)
    kernel, bias = (np.asarray(value, "float64") for value in trial.model.get_weights())
    ids, x = trial.x["sample_id"], trial.x["features"].astype("float64")
    ids[3], ids[9], ids[14] = -1, 12, 2
    weights = np.random.default_rng(2).uniform(0.2, 2.0, len(ids))
    rows = [slice(start, start + BATCH) for start in range(0, len(ids), BATCH)]
    batches = [(epoch, x[r], trial.y[r], ids[r], weights[r]) for epoch in range(3) for r in rows]
    trial.fit(epochs=3, sample_weight=weights.astype("float32"))
    kernel, bias, state = case.simulate(case.arguments, kernel, bias, batches, 0.3)
    got = {"kernel": trial.model.get_weights()[0], "bias": trial.model.get_weights()[1], **trial.state()}
    for name, expected in {"kernel": kernel, "bias": bias, **state}.items():
        np.testing.assert_allclose(
            got[name], expected, rtol=1e-5, atol=1e-5, err_msg=f"{name} differs from the simulation"
        )


@rule(3, needs="reference", depends_on="class")
def training_equals_the_other_backends(case: Case) -> None:
    """Compares a run with Adam with recorded numbers, which are the same for all backends."""
    got = reference_numbers(case)
    assert got.keys() == case.reference.keys(), f"the case must state {got}"
    for name, value in case.reference.items():
        np.testing.assert_allclose(got[name], value, rtol=2e-5, err_msg=f"{name} differs from the other backends")


def reference_numbers(case: Case) -> dict[str, float]:
    trial = Trial(case, optimizer="adam", samples=20, prebuilt=False)
    logs = trial.fit(epochs=3).history
    numbers = {name: logs[name][-1] for name in ("loss", *case.terms)}
    for name, value in {"weights": trial.model.get_weights(), **{k: [v] for k, v in trial.state().items()}}.items():
        numbers[name] = sum(float(np.sum(np.asarray(part, "float64") ** 2)) for part in value)
    return {name: float(f"{value:.7g}") for name, value in numbers.items()}
