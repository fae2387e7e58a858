"""Rule 6: state passes through the step, in particular on JAX, and can be read at any time."""

from __future__ import annotations

import numpy as np

from tests.conformance.case import At, Case, Trial, assert_same, differ, recorded
from tests.conformance.rules import rule


def trained(case: Case, epochs: int) -> dict[str, np.ndarray]:
    """Returns the weights and the state after a number of epochs."""

    def run() -> dict[str, np.ndarray]:
        trial = Trial(case)
        trial.fit(epochs=epochs)
        return {**trial.weights(), **trial.state()}

    return recorded(case, f"{epochs} epochs", run)


@rule(6, needs="state", compiled_on=("jax",))
def state_changes_in_every_epoch(case: Case) -> None:
    """Also checks a second `fit` with the same method, which continues with the existing state."""
    trial, states = Trial(case), []
    note = At(on_epoch_end=lambda self, epoch, logs: states.append(trial.state()))
    trial.fit(after=[note])
    trial.fit(after=[note], epochs=4, initial_epoch=2)
    for before, now in zip([{k: np.zeros_like(v) for k, v in states[0].items()}, *states], states, strict=False):
        assert differ(before, now), f"the state does not change: {now}"
    straight = trained(case, 4)
    assert_same({**trial.weights(), **trial.state()}, straight, "fit twice", max(1e-6, case.between_traces))


@rule(6, compiled_on=("jax",))
def reading_changes_nothing(case: Case) -> None:
    """Reads state and weights in all hooks, also where JAX has donated their buffers."""
    read = Trial(case)
    seen = []

    def look(self, *arguments):
        if self.model is not None:  # On JAX, reading `model` updates the variables.
            seen.append({**read.weights(), **read.state()})

    hooks = ("on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end")
    read.fit(after=[At(**dict.fromkeys(hooks, look))])
    assert all(np.isfinite(value).all() for state in seen for value in state.values()), "a value is not finite"
    assert_same({**read.weights(), **read.state()}, trained(case, 2), "reading changes training", case.between_traces)
    if case.state:
        assert_same({**read.weights(), **read.state()}, seen[-1], "the last values read are not current")
