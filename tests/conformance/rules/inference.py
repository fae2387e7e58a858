"""Rule 8: the method does not affect evaluation and prediction, and these change no state."""

from __future__ import annotations

import csv
import pathlib
import tempfile

import keras
import numpy as np

from tests.conformance.case import At, Case, Trial, assert_same, problem
from tests.conformance.rules import rule


def validation_of(trial: Trial) -> tuple:
    """Returns other data with the same sample ids. Training on them would change the state."""
    features, labels = problem(seed=7)
    return {**trial.x, "features": features}, labels


@rule(8)
def validation_during_fit_is_plain(case: Case) -> None:
    trial = Trial(case, architecture="dropout")
    data, states, expected = validation_of(trial), [], []

    def note(self, *arguments):
        states.append({**trial.weights(), **trial.state()})

    def evaluate(self, epoch, logs):
        plain = trial.plain_model()
        expected.append((dict(logs), plain.evaluate(*data, verbose=0, return_dict=True, batch_size=8)))

    trial.fit(validation_data=data, after=[At(on_test_begin=note, on_test_end=note, on_epoch_end=evaluate)])
    for before, after in zip(states[::2], states[1::2], strict=True):
        changed = {name: value for name, value in after.items() if "mean_metric" not in name}
        assert_same({name: before[name] for name in changed}, changed, "validation changes")
    for logs, plain_logs in expected:
        got = {name: logs[f"val_{name}"] for name in plain_logs}
        np.testing.assert_allclose(list(got.values()), list(plain_logs.values()), rtol=1e-6, err_msg=f"{got}")
        extra = [name for name in logs if name.startswith("val_") and name[4:] not in plain_logs]
        assert not extra, f"validation logs contain {extra}"


@rule(8, needs="terms", compiled_on=("tensorflow",))
def terms_are_logged(case: Case) -> None:
    """Checks each epoch in `History` and in the file of a `CSVLogger`, and that the loss includes the terms."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "log.csv")
        trial = Trial(case)
        steps = []
        note = At(on_train_batch_end=lambda self, batch, logs: steps.append(dict(logs)))
        history = trial.fit(validation_data=validation_of(trial), after=[keras.callbacks.CSVLogger(file), note]).history
        with file.open() as lines:
            rows = list(csv.DictReader(lines))
    for name in case.terms:
        assert len(history.get(name, ())) == 2, f"History has no {name!r}: {list(history)}"
        assert any(history[name]), f"{name!r} is always 0"
        assert all(name in logs for logs in steps), f"the logs of a batch have no {name!r}: {list(steps[0])}"
        np.testing.assert_allclose([float(row[name]) for row in rows], history[name], rtol=1e-6)
    plain = Trial(case, None)
    first_step = float(plain.model.evaluate(plain.x["features"][:8], plain.y[:8], verbose=0)[0])
    total = first_step + sum(steps[0][name] for name in case.terms)
    np.testing.assert_allclose(steps[0]["loss"], total, rtol=1e-5, err_msg="the loss is not Keras's loss + terms")


@rule(8, compiled_on=("jax",))
def evaluation_after_fit_is_plain(case: Case) -> None:
    """Also passes sample ids and the callback to `evaluate` and `predict`."""
    trial, plain = Trial(case, architecture="dropout"), Trial(case, None, architecture="dropout")
    plain.fit()
    trial.fit()
    plain.model, trained = trial.plain_model(), plain.model
    before = {**trial.weights(), **trial.state()}
    data = validation_of(trial)
    for callbacks in [[], [trial.method]] if case.kind == "callback" else [[]]:
        got = trial.model.evaluate(*data, verbose=0, return_dict=True, callbacks=callbacks)
        expected = plain.model.evaluate(*data, verbose=0, return_dict=True)
        assert got.keys() == expected.keys(), f"evaluate returns {list(got)}"
        np.testing.assert_allclose(list(got.values()), list(expected.values()), rtol=1e-6)
        prediction = trial.model.predict(data[0], verbose=0, callbacks=callbacks)
        np.testing.assert_allclose(prediction, plain.model.predict(data[0], verbose=0), rtol=1e-5, atol=1e-6)
    assert_same({**trial.weights(), **trial.state()}, before, "evaluation changes")
    trained.evaluate(*data, verbose=0)
    trained.predict(data[0], verbose=0)
    left = set(vars(trial.model)) - set(vars(trained))
    assert not left, f"evaluation leaves {left} on the model"
