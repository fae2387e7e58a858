"""Rule 11: methods without effect warn, and wrong arguments raise a helpful error."""

from __future__ import annotations

import warnings

import keras
import numpy as np

from keras_reg import NoEffectWarning
from tests.conformance.case import Case, Mistake, Trial, assert_same
from tests.conformance.rules import rule


@rule(11, needs="wrong_arguments", depends_on="class")
def wrong_arguments_raise(case: Case) -> None:
    for wrong in case.wrong_arguments:
        (name, value), *_ = wrong.items()
        try:
            case.make(**wrong)
        except ValueError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{wrong} raises {type(error).__name__}, not ValueError: {error}") from error
        else:
            raise AssertionError(f"{wrong} is accepted")
        received = message.partition("Received:")[2]
        assert f"{name}={value!r}" in received, f"the message does not say that it received {wrong}: {message}"


@rule(11, needs="no_effect", compiled_on=("tensorflow",))
def no_effect_is_said(case: Case) -> None:
    for mistake in case.no_effect:
        trial, plain = with_mistake(case, mistake), Trial(case, None)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            trial.fit()
        warned = [str(w.message) for w in seen if issubclass(w.category, NoEffectWarning)]
        assert warned, f"{mistake.what}: no NoEffectWarning"
        assert mistake.says in warned[0], f"{mistake.what}: {warned[0]}"
        plain.fit()
        assert_same(trial.weights(), plain.weights(), f"{mistake.what}: it has an effect", 1e-6)


@rule(11, needs="mistakes", compiled_on=("jax",))
def mistakes_raise_and_leave_the_model_whole(case: Case) -> None:
    """Checks that the mistake leaves the weights unchanged, on JAX too, and does not affect the next `fit`.

    If compiling takes seconds, the next `fit` is tested after only one mistake that is found before a step, and one
    that is found after a step.
    """
    start, right = Trial(case), Trial(case)
    right.fit()
    followed = set()
    for mistake in case.mistakes:
        trial = with_mistake(case, mistake)
        features = trial.x["features"] if isinstance(trial.x, dict) else trial.x
        before = [np.array(value) for value in trial.model.get_weights()]
        try:
            trial.fit()
        except ValueError as error:
            message = str(error)
        except Exception as error:
            raise AssertionError(f"{mistake.what} raises {type(error).__name__}, not ValueError: {error}") from error
        else:
            raise AssertionError(f"{mistake.what} is accepted")
        for words in ("Received", mistake.says):
            assert words in message, f"{mistake.what}: {message}"
        weights = trial.model.get_weights()
        assert all(np.isfinite(value).all() for value in weights), f"{mistake.what}: the weights are deleted"
        if not mistake.after_a_step:
            for mine, theirs in zip(weights, before, strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=f"{mistake.what}: the weights have changed")
        trial.model.predict(features, verbose=0)
        is_new = keras.backend.backend() == "torch" or mistake.after_a_step not in followed
        if len(trial.model.outputs) == 1 and is_new:
            followed.add(mistake.after_a_step)
            trial.compile()  # Some mistakes are in the loss.
            trial.take_weights_of(start)
            trial.method, trial.x, trial.y = case.make(), right.x, right.y
            trial.fit()
            got, expected = ({**t.weights(), **t.state()} for t in (trial, right))
            assert_same(got, expected, f"a fit after the mistake {mistake.what!r}", max(1e-6, case.between_traces))


def with_mistake(case: Case, mistake: Mistake) -> Trial:
    trial = Trial(case, mistake.arguments)
    mistake.change(trial)
    return trial
