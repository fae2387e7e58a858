"""Tests of hyperparameters that follow a schedule by epochs, or the schedule of a tuner."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.callbacks import HyperparameterSchedule, ReplaySchedule
from keras_reg.regularizers import TunableL2
from keras_reg.tune import Float, Int, hyperparameters
from tests.support.tiers import ON_TORCH

X, Y = np.ones((8, 4), "float32"), np.full((8, 1), 4.0, "float32")
SCHEDULE = {"total_steps": 12, "steps": [0, 3, 6, 9], "values": {"l2": [0.0, 0.25, 0.5, 1.0]}}


def model_of(*decays, **compile_arguments) -> keras.Model:
    """Returns a model whose loss is 4 times each strength, and whose weights do not move."""
    layers = [
        keras.layers.Dense(4, use_bias=False, kernel_initializer="identity", kernel_regularizer=TunableL2(decay))
        for decay in decays[1:]
    ]
    first = TunableL2(decays[0])
    layers.append(keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=first))
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.SGD(0.0), "mse", **compile_arguments)
    return model


def decay_of(name="l2"):
    return Float(name, 0.1, low=0.0, high=2.0)


class Steps(keras.callbacks.Callback):
    """Computes the loss of each step from the logs, which contain the running mean of the epoch."""

    def on_train_begin(self, logs=None):
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.sum = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = logs["loss"] * (batch + 1)
        self.losses.append(round(total - self.sum, 4))
        self.sum = total


def fit(model, callback, batch_size=4, x=X, y=Y, **arguments):
    steps = Steps()
    history = model.fit(
        x, y, batch_size=batch_size, shuffle=False, verbose=0, callbacks=[callback, steps], **arguments
    ).history
    return steps.losses, history


def test_hyperparameter_schedule_sets_and_logs_value_of_each_epoch(compile_modes):
    for mode in compile_modes:
        model = model_of(decay_of(), decay_of("other"), **mode)
        plans = {"l2": lambda epoch: 0.25 * epoch, "other": [1.0, 0.5]}
        losses, history = fit(model, HyperparameterSchedule(plans), epochs=3)
        assert history["l2"] == [0.0, 0.25, 0.5]
        assert history["other"] == [1.0, 0.5, 0.5]
        assert losses == pytest.approx([4.0, 4.0, 3.0, 3.0, 4.0, 4.0]), mode
    # Resumed training uses the values of its epochs. After training, the last values stay.
    _, history = fit(model, HyperparameterSchedule(plans), epochs=5, initial_epoch=4)
    assert history["l2"] == [1.0]
    assert {name: handle.value for name, (handle,) in hyperparameters(model).items()} == {"l2": 1.0, "other": 0.5}
    assert fit(model, keras.callbacks.Callback())[0] == pytest.approx([6.0, 6.0])


def test_validation_uses_scheduled_value_of_the_epoch():
    _, history = fit(model_of(decay_of()), HyperparameterSchedule({"l2": [0.0, 1.0]}), epochs=2, validation_data=(X, Y))
    assert history["val_loss"] == pytest.approx([0.0, 4.0])


@ON_TORCH
def test_replay_schedule_follows_share_of_training():
    """Replays 12 steps in 4 quarters, in runs of 4 epochs of 2 steps and of 2 epochs of 8 steps."""
    losses, history = fit(model_of(decay_of()), ReplaySchedule(SCHEDULE), epochs=4)
    assert losses == pytest.approx([0, 0, 1, 1, 2, 2, 4, 4])
    assert history["l2"] == [0.0, 0.25, 0.5, 1.0]
    losses, history = fit(model_of(decay_of()), ReplaySchedule(SCHEDULE), batch_size=1, epochs=2)
    assert losses == pytest.approx([0] * 4 + [1] * 4 + [2] * 4 + [4] * 4)
    assert history["l2"] == [0.25, 1.0]


def test_replay_schedule_follows_steps():
    losses, _ = fit(model_of(decay_of()), ReplaySchedule(SCHEDULE, by="step"), batch_size=1, epochs=2)
    assert losses == pytest.approx([0] * 3 + [1] * 3 + [2] * 3 + [4] * 7)


def test_replay_schedule_continues_in_resumed_training():
    model = model_of(decay_of())
    callback = ReplaySchedule(SCHEDULE)
    fit(model, callback, epochs=4)
    losses, _ = fit(model, callback, epochs=4, initial_epoch=2)
    assert losses == pytest.approx([2, 2, 4, 4])


def generator():
    while True:
        yield X[:4], Y[:4]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_replay_schedule_counts_steps_of_data_of_unknown_length():
    def batches():
        for _ in range(4):
            yield X[:4], Y[:4]

    model = model_of(decay_of())
    with pytest.raises(ValueError, match=r"`steps_per_epoch`.*Received: by='share'"):
        fit(model, ReplaySchedule(SCHEDULE), x=batches(), y=None, batch_size=None)
    losses, _ = fit(model, ReplaySchedule(SCHEDULE, by="step"), x=batches(), y=None, batch_size=None)
    assert losses == pytest.approx([0, 0, 0, 1])
    losses, _ = fit(
        model, ReplaySchedule(SCHEDULE), x=generator(), y=None, batch_size=None, epochs=2, steps_per_epoch=2
    )
    assert losses == pytest.approx([0, 1, 2, 4])


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_replay_schedule_rejects_resuming_with_unknown_length():
    model = model_of(decay_of())
    callback = ReplaySchedule(SCHEDULE, by="step")
    with pytest.raises(ValueError, match=r"`steps_per_epoch`. Received: a `fit` that begins with epoch 2"):
        fit(model, callback, x=((X[:4], Y[:4]) for _ in range(4)), y=None, batch_size=None, initial_epoch=2, epochs=3)
    losses, _ = fit(
        model, callback, x=generator(), y=None, batch_size=None, initial_epoch=2, epochs=3, steps_per_epoch=4
    )
    assert losses == pytest.approx([2, 4, 4, 4])


def test_replay_schedule_counts_unknown_steps_across_epochs():
    model = model_of(decay_of())
    callback, (decay,) = ReplaySchedule(SCHEDULE, by="step"), hyperparameters(model)["l2"]
    callback.set_model(model)
    callback.set_params({"epochs": 3, "steps": None})
    callback.on_train_begin()
    values = []
    for epoch in range(3):
        callback.on_epoch_begin(epoch)
        for batch in range(3):
            callback.on_train_batch_begin(batch)
            values.append(decay.value)
            callback.on_train_batch_end(batch)
    assert values == [0.0] * 3 + [0.25] * 3 + [0.5] * 3


def test_replay_schedule_resets_manually_changed_value_in_second_fit():
    model = model_of(decay_of())
    callback = ReplaySchedule({"total_steps": 1, "steps": [0], "values": {"l2": [1.0]}})
    for _ in range(2):
        assert fit(model, callback)[0] == pytest.approx([4.0, 4.0])
        hyperparameters(model)["l2"][0].set(0.0)


def test_steps_of_one_execution_use_scheduled_value_of_first_step():
    if keras.backend.backend() == "torch":
        pytest.skip("Keras runs one step per execution on PyTorch")
    model = model_of(decay_of(), steps_per_execution=2)
    _, history = fit(model, ReplaySchedule(SCHEDULE), batch_size=2, epochs=2)
    assert history["loss"] == pytest.approx([0.5, 3.0])


def test_hyperparameter_schedule_logs_integers_as_integers():
    _, history = fit(model_of(Int("l2", 1, low=0, high=9)), HyperparameterSchedule({"l2": [2.7]}))
    assert history["l2"] == [2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: HyperparameterSchedule({"rate": [0.1]}),
            r"hyperparameters named \['rate'\]. It has \['l2'\].*Received:",
        ),
        (lambda: HyperparameterSchedule({"l2": [0.1, 5.0]}), r"'l2' must be a number from 0.0 to 2.0.*value=5.0"),
        (lambda: HyperparameterSchedule({"l2": lambda epoch: "high"}), r"'l2' must be a number.*value='high'"),
        (
            lambda: ReplaySchedule({"total_steps": 2, "steps": [0], "values": {"rate": [0.1]}}),
            r"no hyperparameters named \['rate'\]",
        ),
        (
            lambda: ReplaySchedule({"total_steps": 2, "steps": [0, 1], "values": {"l2": [0.1, -1.0]}}),
            r"'l2' must be a number.*value=-1.0",
        ),
    ],
)
def test_hyperparameter_schedule_rejects_plan_that_does_not_fit_model(make, message):
    with pytest.raises(ValueError, match=message):
        fit(model_of(decay_of()), make())


def test_hyperparameter_schedule_rejects_name_of_existing_log():
    with pytest.raises(ValueError, match=r"logs already contain 'loss'.*Received:"):
        fit(model_of(decay_of("loss")), HyperparameterSchedule({"loss": [0.1]}))
