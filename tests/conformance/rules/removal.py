"""Rule 6, for callbacks: a method ends with its `fit`, however the `fit` ends."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.conformance.case import Case, Interrupt, Trial, assert_same, differ, interrupt
from tests.conformance.rules import rule


@rule(6, kinds=("callback",), needs="other_arguments", compiled_on=("tensorflow",))
def a_second_fit_takes_its_own_arguments(case: Case) -> None:
    """Checks that the second `fit` does not use a compiled step of the first one."""
    trial, fresh, unlike = Trial(case), Trial(case), Trial(case)
    trial.fit()
    for other in (fresh, unlike):
        other.take_weights_of(trial)
    unlike.fit()
    for one in (trial, fresh):
        one.method = case.make(**case.other_arguments)
        one.fit()
    assert_same(
        {**trial.weights(), **trial.state()},
        {**fresh.weights(), **fresh.state()},
        "a stale step",
        max(1e-6, case.between_traces),
    )
    assert differ(fresh.weights(), unlike.weights()), "the other arguments of the case have no effect"


@rule(6, kinds=("callback",))
def after_fit_the_model_is_as_without_the_method(case: Case) -> None:
    trial, plain = Trial(case), Trial(case, None)
    plain.fit()
    trial.fit()
    assert differ(trial.weights(), plain.weights()), "the method has no effect"
    assert_untouched(trial, plain)
    plain.take_weights_of(trial)
    assert_plain_fit(trial, plain)


@rule(6, kinds=("callback",), compiled_on=("jax",))
def after_an_interrupted_fit_training_is_plain(case: Case) -> None:
    """Stops `fit` in the middle of an epoch and between epochs. The weights must survive, on JAX too.

    No step runs between epochs, so a stop there is tested only where nothing is compiled.
    """
    stops = [("on_train_batch_end", KeyboardInterrupt), ("on_epoch_begin", Interrupt)]
    for hook, error in stops if keras.backend.backend() == "torch" else stops[:1]:
        trial = Trial(case)
        with pytest.raises(error):
            trial.fit(epochs=3, after=[interrupt(hook, 1, error)])
        assert_recovers(trial)


@rule(6, kinds=("callback",), compiled_on=("jax",))
def after_data_that_fail_training_is_plain(case: Case) -> None:
    """Raises an error in the data. On JAX, the model has no weights at that time, because the step owns them."""
    trial = Trial(case)
    good = trial.x, trial.y

    def batches():
        for start in (0, 8):
            rows = slice(start, start + 8)
            yield {key: value[rows] for key, value in good[0].items()}, good[1][rows]
        raise ValueError("these data are bad")

    trial.x, trial.y = batches(), None
    with pytest.raises(Exception, match="these data are bad"):
        trial.fit(epochs=1, batch_size=None)
    trial.x, trial.y = good
    assert_recovers(trial)


def assert_recovers(trial: Trial) -> None:
    """Checks that evaluation and the next `fit` are unaffected by a failed `fit`, and that nothing is left."""
    weights = trial.weights()
    assert all(np.isfinite(value).all() for value in weights.values()), "the weights are deleted"
    plain = Trial(trial.case, None)
    plain.fit()
    plain.take_weights_of(trial)
    expected = plain.model.evaluate(plain.x, plain.y, verbose=0, return_dict=True)
    got = trial.model.evaluate(trial.x, trial.y, verbose=0, return_dict=True)
    assert got.keys() == expected.keys(), f"evaluate returns {list(got)}"
    np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-6)
    assert_plain_fit(trial, plain)
    assert_untouched(trial, plain)


def assert_plain_fit(trial: Trial, plain: Trial) -> None:
    trial.method = None
    logs, expected = trial.fit().history, plain.fit().history
    assert logs.keys() == expected.keys(), f"plain fit logs {list(logs)}"
    assert_same(trial.weights(), plain.weights(), "fit without the method differs from plain", 1e-6)


def assert_untouched(trial: Trial, plain: Trial) -> None:
    """Checks that nothing is left on the model, compared with one that was trained without the method."""
    for what, of in {
        "attributes": lambda model: sorted(vars(model)),
        "methods": lambda model: [getattr(model, name).__func__ for name in ("compute_loss", "make_train_function")],
        "metrics": lambda model: [metric.name for metric in model.metrics],
        "metric variables": lambda model: [v.path.split("/")[-1] for v in model.metrics_variables],
        "variables": lambda model: len(model.variables),
    }.items():
        got, expected = of(trial.model), of(plain.model)
        assert got == expected, f"left on the model: {what} {got}, expected {expected}"
