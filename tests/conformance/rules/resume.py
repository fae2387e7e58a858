"""Rule 9: stopped and resumed training equals uninterrupted training, bit for bit."""

from __future__ import annotations

import pathlib
import tempfile

import keras
import pytest

from tests.conformance.case import Case, Interrupt, Trial, assert_same, interrupt, recorded
from tests.conformance.rules import rule


def result(trial: Trial) -> dict:
    return {**trial.weights(), **trial.state()}


def straight(case: Case) -> dict:
    """Trains four epochs without interruption."""

    def run() -> dict:
        trial = Trial(case, architecture="norm")
        trial.fit(epochs=4)
        return result(trial)

    return recorded(case, "four epochs with batch normalization", run)


@rule(9)
def resumed_by_backup_and_restore(case: Case) -> None:
    """Tests both orders of the callbacks, and stops after an epoch and within one, which is then repeated.

    The order affects only Python code, so both orders are tested only where nothing is compiled.
    """
    expected = straight(case)
    stops = [("callbacks", interrupt_in_epoch(2, 1)), ("after", interrupt("on_epoch_begin", 2))]
    for order, stop in stops if keras.backend.backend() == "torch" else stops[:1]:
        with tempfile.TemporaryDirectory() as folder:
            with pytest.raises(Interrupt):
                Trial(case, architecture="norm").fit(epochs=4, **backup(order, folder, stop))
            resumed = Trial(case, architecture="norm", seed=2)
            resumed.fit(epochs=4, **backup(order, folder))
        where = "before" if order == "callbacks" else "behind"
        assert_same(result(resumed), expected, f"resumed with BackupAndRestore {where} the method", case.between_traces)


def backup(order: str, folder: str, *others: keras.callbacks.Callback) -> dict:
    return {order: [keras.callbacks.BackupAndRestore(folder), *others]}


def interrupt_in_epoch(epoch: int, batch: int) -> keras.callbacks.Callback:
    callback = interrupt("on_train_batch_end", batch)
    raise_there, now = callback.on_train_batch_end, []
    callback.on_epoch_begin = lambda epoch, logs=None: now.append(epoch)
    callback.on_train_batch_end = lambda batch, logs=None: raise_there(batch) if now[-1] == epoch else None
    return callback


@rule(9, compiled_on=("jax",))
def resumed_from_a_saved_model(case: Case) -> None:
    """Resumes from `model.save` and from `save_state` of the method, within one process."""
    expected = straight(case)
    with tempfile.TemporaryDirectory() as folder:
        model, state = pathlib.Path(folder, "model.keras"), pathlib.Path(folder, "state.npz")
        stopped = Trial(case, architecture="norm")
        stopped.fit(epochs=2)
        stopped.model.save(model)
        resumed = Trial(case, architecture="norm", seed=2)
        resumed.load(model)
        if hasattr(stopped.method, "save_state"):
            stopped.method.save_state(state)
            resumed.method.load_state(state)
        resumed.fit(epochs=4, initial_epoch=2)
    assert_same(result(resumed), expected, "resumed from a saved model", case.between_traces)


@rule(9, kinds=("callback",), needs="state", compiled_on=("tensorflow",))
def loaded_state_is_used_once(case: Case) -> None:
    """Checks that the second `fit` after `load_state` continues from the first one and does not load again."""
    stopped = Trial(case, architecture="norm")
    stopped.fit(epochs=2)
    resumed = Trial(case, architecture="norm", seed=2)
    resumed.take_weights_of(stopped)
    with tempfile.TemporaryDirectory() as folder:
        state = pathlib.Path(folder, "state.npz")
        stopped.method.save_state(state)
        resumed.method.load_state(state)
        resumed.fit(epochs=3, initial_epoch=2)
        resumed.fit(epochs=4, initial_epoch=3)
    assert_same(result(resumed), straight(case), "two fits after a loaded state", max(1e-6, case.between_traces))
