"""Tests of self-tuning: the hypergradient of ridge regression, unchanged training, and errors."""

from __future__ import annotations

import itertools
import re
import warnings

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks import (
    EarlyLearningRegularization,
    HyperparameterSchedule,
    ReplaySchedule,
    SelfTuning,
)
from keras_reg.callbacks._self_tuning import steps
from keras_reg.callbacks._self_tuning.delta_steps import DeltaSteps
from keras_reg.data import with_sample_ids
from keras_reg.layers import TunableDropout
from keras_reg.regularizers import TunableL2
from keras_reg.tune import Float, hyperparameters
from tests.support import stn
from tests.support.lowered import lowered_programs
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.two_devices import call_on_two_devices

L = keras.layers
NLL = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def half_square(y, prediction):
    return ops.mean(ops.square(y - prediction), axis=-1) / 2


def ridge(scale, samples=6400, steps=300):
    """Runs self-tuning on the authors' ridge regression at its solution. The callback learns its response."""
    decay = Float("l2", init=float(np.exp(stn.golden("oracle_ridge/lam")) / 2), low=0.0, log=True)
    layer = L.Dense(1, use_bias=False, kernel_regularizer=TunableL2(decay))
    model = keras.Sequential([keras.Input((6,)), layer])
    layer.kernel.assign(stn.golden("oracle_ridge/w")[:, None])
    model.compile(keras.optimizers.SGD(0.0), half_square)
    tuning = SelfTuning(
        (stn.golden("oracle_ridge/Xv"), stn.golden("oracle_ridge/yv")[:, None]),
        warmup_steps=steps - 20,
        scale=scale,
        learning_rate=1e-9,
        response_optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.05, steps)),
        seed=0,
    )
    # Each sample is repeated, so that the gradient is a mean over many perturbations.
    x, y = (np.tile(stn.golden(f"oracle_ridge/{name}").T, samples // 40).T.astype("float32") for name in "Xy")
    batches = ((x, y[:, None]) for _ in range(steps))
    model.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[tuning])
    return tuning


@pytest.mark.parametrize(("scale", "bias"), [(0.25, 0.997), (1.0, 0.901)])
def test_self_tuning_hypergradient_matches_ridge_regression(scale, bias):
    """Compares with the exact gradient within 5 %: at a scale of 0.25, and at 1 with the theoretical bias."""
    tuning = ridge(scale)
    gradient = tuning.gradients["l2"]
    assert gradient == pytest.approx(bias * float(stn.golden("oracle_ridge/dLv_dlam")), rel=0.05)
    losses = tuning.model.history.history["tuning_loss"]
    assert losses[-1] == pytest.approx(float(stn.golden("oracle_ridge/Lv")), rel=1e-5)


def classifier(init=0.3, softmax=False, normalized=False, decay=1e-3):
    """Returns a small classifier of digits with a tunable rate and a tunable decay."""
    keras.utils.set_random_seed(0)
    rate = Float("rate", init=init, low=0.0, high=0.9)
    l2 = TunableL2(Float("l2", init=decay, low=0.0, log=True))
    middle = [L.BatchNormalization()] if normalized else []
    last = L.Dense(10, activation="softmax" if softmax else None, kernel_regularizer=l2)
    hidden = [L.Dense(16, "relu", kernel_regularizer=l2), *middle, TunableDropout(rate, seed=1)]
    model = keras.Sequential([keras.Input((64,)), *hidden, last])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    model.compile(keras.optimizers.Adam(0.01), loss)
    return model


def train(model, digits, epochs=2, samples=120, **arguments):
    x, y = digits
    arguments = {"warmup_steps": 5, "train_steps": 2, "seed": 0, "learning_rate": 0.05, **arguments}
    tuning = SelfTuning((x[200:], y[200:]), **arguments)
    model.fit(x[:samples], y[:samples], batch_size=20, epochs=epochs, verbose=0, shuffle=False, callbacks=[tuning])
    return tuning


def train_without_tuning(model, digits, epochs=2, samples=120):
    x, y = digits
    model.fit(x[:samples], y[:samples], batch_size=20, epochs=epochs, verbose=0, shuffle=False)


@ON_TORCH
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "plan",
    [
        lambda: HyperparameterSchedule({"rate": [0.1]}),
        lambda: ReplaySchedule({"total_steps": 2, "steps": [0], "values": {"rate": [0.1]}}),
    ],
)
def test_self_tuning_excludes_scheduled_hyperparameters(digits, plan, first):
    x, y = digits
    model = classifier()

    def train_with_schedule(tuning):
        pair = [plan(), tuning]
        model.fit(x[:40], y[:40], verbose=0, callbacks=pair if first else pair[::-1])

    with pytest.raises(ValueError, match=r"change the same hyperparameters.*Received: .*Schedule for \['rate'\]"):
        train_with_schedule(SelfTuning((x[200:], y[200:]), [hyperparameters(model)["rate"][0]]))
    assert hyperparameters(model)["rate"][0].value == pytest.approx(0.3)
    # The schedule may set hyperparameters that are not tuned.
    train_with_schedule(SelfTuning((x[200:], y[200:]), [hyperparameters(model)["l2"][0]]))
    assert hyperparameters(model)["rate"][0].value == pytest.approx(0.1)


@ON_TORCH
@pytest.mark.parametrize("jit_compile", [False, True] if keras.backend.backend() == "tensorflow" else ["auto"])
def test_self_tuning_keeps_training_unchanged_while_nothing_is_tuned(digits, jit_compile):
    """Compares weights, moving statistics and dropout states with training without the callback."""
    models = [classifier(normalized=True) for _ in range(2)]
    for model in models:
        # A bias before a normalization has a gradient of rounding errors, which Adam would make large.
        model.compile(keras.optimizers.SGD(0.1), NLL)
        model.jit_compile = jit_compile if jit_compile != "auto" else model.jit_compile
    train_without_tuning(models[0], digits)
    tuning = train(models[1], digits, warmup_steps=1000)
    assert tuning.values == pytest.approx({"rate": 0.3, "l2": 1e-3})
    for tuned, plain in zip(models[1].variables, models[0].variables, strict=True):
        # The compiler may add in a different order if the same step is part of a different program.
        np.testing.assert_allclose(
            ops.convert_to_numpy(tuned), ops.convert_to_numpy(plain), rtol=1e-5, atol=1e-6, err_msg=tuned.path
        )


@ON_TORCH
def test_self_tuning_lowers_a_too_large_weight_decay(digits):
    """Checks that a far too large decay falls, in `logs` and in `history`, and that the tuning loss falls too."""
    model = classifier(0.1, decay=0.03)
    only = {"hyperparameters": hyperparameters(model)["l2"], "response_optimizer": keras.optimizers.Adam(0.01)}
    tuning = train(model, digits, epochs=30, warmup_steps=60, **only)
    history = model.history.history
    assert set(tuning.values) == {"l2"}
    assert history["l2"] == tuning.history["l2"]
    assert tuning.values["l2"] == pytest.approx(history["l2"][-1])
    assert history["l2"][-1] < 0.01
    assert history["tuning_loss"][-1] < 0.9 * history["tuning_loss"][10]


@ON_TORCH
def test_self_tuning_treats_probabilities_as_logits(digits):
    values = [train(classifier(softmax=softmax), digits, epochs=6).values for softmax in (False, True)]
    assert values[0] != {"rate": 0.3, "l2": 1e-3}
    assert values[1] == pytest.approx(values[0], rel=0.02)


class Doubled(keras.Model):
    """Returns a dictionary with two outputs. Its `call` has no argument `training`."""

    def __init__(self, decay):
        super().__init__()
        self.hidden = L.Dense(8, "relu", kernel_regularizer=TunableL2(decay))
        self.digit, self.even = L.Dense(10, "softmax"), L.Dense(1)

    def call(self, x):
        h = self.hidden(x)
        return {"digit": self.digit(h), "even": self.even(h)}


@ON_TORCH
def test_self_tuning_accepts_several_outputs_without_training_argument(digits):
    """Tunes with a loss of probabilities for one output, and a squared error for the other."""
    x, y = digits
    labels = {"digit": y, "even": (y % 2 == 0).astype("float32")[:, None]}
    keras.utils.set_random_seed(0)
    model = Doubled(Float("l2", 0.03, low=0.0, log=True))
    model.compile(keras.optimizers.Adam(0.01), {"digit": "sparse_categorical_crossentropy", "even": "mse"})
    held_out = {name: array[200:] for name, array in labels.items()}
    tuning = SelfTuning((x[200:], held_out), warmup_steps=60, train_steps=2, seed=0, learning_rate=0.05)
    first = {name: array[:120] for name, array in labels.items()}
    if keras.backend.backend() == "tensorflow":  # TensorFlow does not build the model before training.
        with pytest.raises(ValueError, match="call a subclassed model"):
            model.fit(x[:120], first, verbose=0, callbacks=[tuning])
    model(x[:1])
    model.fit(x[:120], first, batch_size=20, epochs=20, verbose=0, callbacks=[tuning])
    assert tuning.values["l2"] < 0.02
    outputs = model.predict(x[200:], verbose=0)
    crossentropy = -np.log(outputs["digit"][np.arange(100), y[200:]])
    loss = np.mean(crossentropy) + np.mean((outputs["even"] - held_out["even"]) ** 2)
    # The logged loss is a mean over the epoch, during which the loss fell.
    assert tuning.model.history.history["tuning_loss"][-1] == pytest.approx(float(loss), rel=0.1)


@ON_TORCH
def test_self_tuning_rejects_reuse_with_other_trainable_weights(digits):
    model = classifier()
    tuning = train(model, digits, epochs=1)
    model.layers[0].trainable = False
    model.compile("sgd", NLL)
    with pytest.raises(ValueError, match="trainable weights of the model differ"):
        model.fit(*digits, verbose=0, callbacks=[tuning])


@NOT_ON_JAX
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch has only eager steps")
def test_self_tuning_eager_steps_equal_graph_steps(digits):
    """Uses gradient descent for the response, because Adam would turn rounding errors into full steps."""
    values = []
    for eager in (False, True):
        model = classifier()
        jit = keras.backend.backend() == "jax" and not eager
        model.compile(keras.optimizers.SGD(0.1), NLL, run_eagerly=eager, jit_compile=jit)
        values.append(train(model, digits, response_optimizer="sgd").values)
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    assert values[1]["rate"] != pytest.approx(0.3, rel=1e-3)


def test_self_tuning_traces_steps_once(digits, monkeypatch):
    traces = []
    step = DeltaSteps.train_response
    monkeypatch.setattr(DeltaSteps, "train_response", lambda self, data: (traces.append(0), step(self, data))[1])
    model = classifier()
    if keras.backend.backend() == "tensorflow":
        model.jit_compile = True
    train(model, digits, epochs=4)
    # TensorFlow traces a step that creates variables twice, also without callbacks.
    assert len(traces) == {"torch": 24, "jax": 1, "tensorflow": 2}[keras.backend.backend()]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="`test_convolutions.py` tests JAX")
def test_self_tuning_compiles_convolutions_without_branch(digits, monkeypatch):
    """Checks that XLA gets convolutions in the order of axes that is fast on CPUs, and that the values are equal."""
    x, y = digits
    images, values, slow_convolutions = x.reshape(-1, 8, 8, 1), [], []
    dense = classifier()
    dense.jit_compile = True
    assert not steps.has_slow_branches(dense)
    for slow in (True, False):
        if not slow:
            monkeypatch.setattr(steps, "has_slow_branches", lambda model: False)
        keras.utils.set_random_seed(0)
        rate = Float("rate", init=0.3, low=0.0, high=0.9)
        hidden = [L.Conv2D(4, 3, strides=2, activation="relu"), TunableDropout(rate, seed=1), L.Flatten()]
        model = keras.Sequential([keras.Input((8, 8, 1)), *hidden, L.Dense(10)])
        model.compile(keras.optimizers.SGD(0.1), NLL, jit_compile=True)
        with lowered_programs() as programs:
            values.append(train(model, (images, y), response_optimizer="sgd").values)
        outermost = programs[0].index("\nENTRY ")
        slow_convolutions.append(len(re.findall(r"dim_labels=(?!b01f_01io->b01f)", programs[0][:outermost])))
    assert slow_convolutions[0] == 0 < slow_convolutions[1]
    assert values[0]["rate"] != pytest.approx(0.3, rel=1e-3)
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@ON_TORCH
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch has one step per execution")
def test_self_tuning_gives_same_values_with_steps_per_execution(digits):
    values = []
    for steps_per_execution in (1, 3):
        model = classifier()
        model.steps_per_execution = steps_per_execution
        values.append(train(model, digits, epochs=3, response_optimizer="sgd").values)
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@ON_TORCH
def test_noise_gate_stops_self_tuning_by_noise(digits):
    tuning = train(classifier(), digits, epochs=3, noise_gate=1e6)
    assert tuning.values == pytest.approx({"rate": 0.3, "l2": 1e-3})


@ON_TORCH
def test_self_tuning_respects_max_step(digits):
    tuning = train(classifier(), digits, train_steps=6, warmup_steps=6, learning_rate=100.0, max_step=0.2)
    moved = np.log(tuning.values["l2"] / 1e-3)
    assert abs(moved) == pytest.approx(0.2, rel=1e-3)  # There was only one step.


@ON_TORCH
@pytest.mark.parametrize(
    ("arguments", "moved"),
    [
        ({"train_steps": 1, "warmup_steps": 0}, [1, 2, 3, 4, 5, 6, 7]),
        ({"train_steps": 3, "warmup_steps": 0}, [3, 6]),
        ({"train_steps": 2, "warmup_steps": 2}, [4, 6]),
    ],
)
def test_self_tuning_changes_hyperparameters_at_configured_steps(digits, arguments, moved):
    """Checks all steps, including the first one, whose gradient is not 0 because the response is trained first."""
    model, values = classifier(), [0.3]

    class Values(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            values.append(tuning.values["rate"])

    x, y = digits
    tuning = SelfTuning((x[200:], y[200:]), seed=0, learning_rate=0.05, **arguments)
    model.fit(x[:140], y[:140], batch_size=20, verbose=0, callbacks=[tuning, Values()])
    assert (np.flatnonzero(np.diff(np.float32(values))) + 1).tolist() == moved


@ON_TORCH
def test_self_tuning_changes_no_tuning_state_between_configured_steps(digits):
    """Checks that only the count of steps and the state of the seed change between the configured steps."""
    states = []

    class States(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            variables = {v.path: v for metric in tuning.state for v in metric.variables if metric.name != "response"}
            states.append({path: np.array(ops.convert_to_numpy(variable)) for path, variable in variables.items()})

    x, y = digits
    tuning = SelfTuning((x[200:], y[200:]), train_steps=3, warmup_steps=0, tune_scale=True, seed=0)
    classifier().fit(x[:140], y[:140], batch_size=20, verbose=0, callbacks=[tuning, States()])
    for step, (before, after) in enumerate(itertools.pairwise(states), start=2):
        changed = {path for path in after if not np.array_equal(before[path], after[path])}
        assert len(changed) > 8 if step % 3 == 0 else len(changed) == 2, (step, changed)


@ON_TORCH
def test_self_tuning_tunes_perturbation_scales(digits):
    """Checks that a large weight of the entropy makes the perturbation larger."""
    tuning = train(classifier(), digits, epochs=4, tune_scale=True, entropy_weight=100.0)
    assert all(scale > 0.55 for scale in tuning.scales.values())
    fixed = train(classifier(), digits, epochs=1)
    assert fixed.scales == pytest.approx({"rate": 0.5, "l2": 0.5})


@ON_TORCH
def test_self_tuning_tunes_stock_layers_in_place(digits):
    """Checks that stock layers have the tuned values after training, and that the model needs no package layer."""
    model = keras.Sequential(
        [
            keras.Input((64,)),
            L.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(0.1), name="hidden"),
            L.Dropout(0.5, name="dropout"),
            L.Dense(10),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), NLL)
    places = {
        "dropout.rate": Float("rate", 0.3, low=0.0, high=0.9),
        "hidden.kernel_regularizer.l2": Float("l2", 0.1, low=0.0, log=True),
    }
    tuning = train(model, digits, hyperparameters=places)
    assert set(tuning.values) == {"rate", "l2"}
    assert tuning.values["l2"] != pytest.approx(0.1)
    assert model.layers[1].rate == pytest.approx(tuning.values["rate"])
    assert model.layers[0].kernel_regularizer.l2 == pytest.approx(tuning.values["l2"])
    assert type(model.layers[0].kernel_regularizer) is keras.regularizers.L2
    tuned = tuning.values["l2"]
    again = train(model, digits, hyperparameters=places)
    assert again.schedule["values"]["l2"][0] == pytest.approx(tuned)


@ON_TORCH
def test_refused_self_tuning_gives_stock_layers_back(digits):
    x, y = digits
    model = keras.Sequential([keras.Input((64,)), L.Dropout(0.5, name="dropout"), L.Dense(10)])
    model.compile("sgd", NLL)
    places = {"dropout.rate": Float("rate", 0.25, low=0.0, high=0.9)}
    pair = [SelfTuning((x[200:], y[200:]), places), SelfTuning((x[200:], y[200:]))]
    with pytest.raises(ValueError, match="tunes all hyperparameters together"):
        model.fit(x[:40], y[:40], verbose=0, callbacks=pair)
    assert model.layers[0].rate == 0.25
    assert not hyperparameters(model)
    # Binding a slot twice would raise an error.
    train(model, digits, epochs=1, hyperparameters=places)


@ON_TORCH
def test_self_tuning_returns_schedule_of_values(digits):
    tuning = train(classifier(), digits, epochs=4)
    assert tuning.schedule["steps"] == [0, 6, 12, 18]
    assert tuning.schedule["total_steps"] == 24
    assert tuning.schedule["values"]["l2"][1:] == tuning.history["l2"][:-1]
    axes = tuning.plot().axes
    assert [axis.get_ylabel() for axis in axes] == list(tuning.history)
    assert axes[-1].lines[0].get_ydata().tolist() == tuning.history[axes[-1].get_ylabel()]
    with pytest.raises(ValueError, match="nothing to read yet"):
        SelfTuning((digits[0], digits[1])).schedule  # noqa: B018


@ON_TORCH
def test_self_tuning_continues_in_second_fit(digits):
    model = classifier()
    x, y = digits
    tuning = SelfTuning((x[200:], y[200:]), warmup_steps=5, train_steps=2, seed=0, learning_rate=0.05)
    for _ in range(2):
        before = tuning.values.get("l2", 1e-3)
        model.fit(x[:120], y[:120], batch_size=20, epochs=2, verbose=0, callbacks=[tuning])
        assert tuning.values["l2"] != before
    assert not hasattr(model, "keras_reg_objective")
    assert "train_step" not in vars(model)


@ON_TORCH
def test_self_tuning_accepts_batched_data_and_sample_weights(digits):
    """Checks that batches are concatenated, and that a sample of weight 0 has no effect."""
    x, y = digits[0][200:], digits[1][200:]
    wrong = np.concatenate([y, np.zeros_like(y)])
    weights = np.repeat(np.float32([2.0, 0.0]), len(y))  # The loss is the mean over all samples.
    doubled = (np.concatenate([x, x]), wrong, weights)
    values = []
    for data in ((x, y), [(x[:60], y[:60]), (x[60:], y[60:])], doubled):
        model = classifier()
        steps = {"warmup_steps": 5, "train_steps": 2, "learning_rate": 0.05, "response_optimizer": "sgd"}
        tuning = SelfTuning(data, seed=0, batch_size=200, **steps)
        parts = (array[:120] for array in digits)
        model.fit(*parts, batch_size=20, epochs=3, verbose=0, shuffle=False, callbacks=[tuning])
        values.append(tuning.values)
    assert values[1] == pytest.approx(values[0], rel=1e-4)
    assert values[2] == pytest.approx(values[0], rel=1e-3)


@ON_TORCH
def test_self_tuning_rejects_training_data_as_tuning_data(digits):
    x, y = digits
    for role, others in (("training", {}), ("validation", {"validation_data": (x[200:], y[200:])})):
        data = (x[:100], y[:100]) if role == "training" else (x[200:], y[200:])
        with pytest.warns(UserWarning, match=f"is the {role} data"):
            classifier().fit(x[:200], y[:200], batch_size=100, verbose=0, callbacks=[SelfTuning(data)], **others)


@ON_TORCH
def test_self_tuning_warns_of_reached_bounds_and_of_no_effect(digits):
    x, y = digits
    model = classifier(init=0.899)
    with pytest.warns(UserWarning, match="'rate' has reached its bound 0.9"):
        train(model, digits, epochs=1)
    model = keras.Sequential([keras.Input((64,)), L.Dense(10)])
    model.compile("sgd", NLL)
    unused = Float("unused", init=0.1, low=0.0)
    with pytest.warns(NoEffectWarning, match="does not use the hyperparameter 'unused'"):
        model.fit(x, y, batch_size=100, verbose=0, callbacks=[SelfTuning((x[:9] + 0, y[:9] + 0), [unused])])


@ON_TORCH
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "tuning_data=None"),
        (3, "tuple"),
        ((np.zeros((3, 64), "float32"), np.zeros(2, "int32")), "as many labels"),
        ((np.zeros((0, 64), "float32"), np.zeros(0, "int32")), "at least 1"),
    ],
)
def test_self_tuning_rejects_bad_tuning_data(digits, data, message):
    with pytest.raises(ValueError, match=message):
        classifier().fit(*digits, batch_size=100, verbose=0, callbacks=[SelfTuning(data)])


@ON_TORCH
def test_self_tuning_rejects_unsuitable_models(digits):
    x, y = digits
    plain = keras.Sequential([keras.Input((64,)), L.Dense(10)])
    plain.compile("sgd", NLL)
    with pytest.raises(ValueError, match="nothing to tune"):
        plain.fit(x, y, verbose=0, callbacks=[SelfTuning((x, y))])
    with pytest.raises(ValueError, match=r"list of `keras_reg.tune.Float`. Received: 0.5"):
        plain.fit(x, y, verbose=0, callbacks=[SelfTuning((x, y), [0.5])])
    model = classifier()
    elr = EarlyLearningRegularization(num_samples=len(x), num_classes=10)
    with pytest.raises(ValueError, match="count it twice"):
        model.fit(with_sample_ids(model, x), y, verbose=0, callbacks=[elr, SelfTuning((x + 0, y + 0))])
    pair = [SelfTuning((x + 0, y + 0), handles) for handles in hyperparameters(model).values()]
    with pytest.raises(ValueError, match=r"tunes all hyperparameters together.*Received: 2 of them"):
        model.fit(x, y, verbose=0, callbacks=pair)
    with pytest.raises(ValueError, match="a separate optimizer"):
        model.fit(x, y, verbose=0, callbacks=[SelfTuning((x + 0, y + 0), response_optimizer=model.optimizer)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x[:40], y[:40], verbose=0)  # The refused callbacks have left the model.


def test_self_tuning_config_excludes_tuning_data():
    arguments = {
        "train_steps": 2,
        "tuning_steps": 3,
        "warmup_steps": 7,
        "scale": 0.25,
        "tune_scale": True,
        "batch_size": 9,
    }
    arguments |= {
        "entropy_weight": 0.5,
        "learning_rate": 0.1,
        "max_step": 0.1,
        "noise_gate": 2.0,
        "seed": 3,
        "kind": "stn",
    }
    handles = [Float("l2", 0.1, low=0.0)]
    tuning = SelfTuning((np.zeros(1), np.zeros(1)), handles, response_optimizer=keras.optimizers.SGD(0.5), **arguments)
    again = SelfTuning.from_config(tuning.get_config())
    assert again.get_config() == tuning.get_config()
    assert {name: again.get_config()[name] for name in arguments} == arguments
    assert again.hyperparameters[0].get_config() == handles[0].get_config()
    assert again.tuning_data is None


@ON_TORCH
def test_self_tuning_reports_tuning_data_of_wrong_shape():
    x, y = np.ones((20, 6, 6, 1), "float32"), np.zeros(20, "int32")
    rate = Float("rate", 0.2, low=0.0, high=0.9)
    layers = [keras.layers.Flatten(), TunableDropout(rate), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tuning = SelfTuning((x[:8, :4] + 1, y[:8] + 1), warmup_steps=0, train_steps=1)
    with pytest.raises(ValueError, match=r"`tuning_data` cannot be computed. Received: arrays of \[\(8, 4, 6, 1\)"):
        model.fit(x, y, verbose=0, callbacks=[tuning])


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on PyTorch trains on one device")
def test_self_tuning_on_two_replicas_matches_ridge_regression():
    results = call_on_two_devices("tests.callbacks.tuning_replicas", "tune")
    np.testing.assert_allclose(results["gradient"], 0.997 * float(stn.golden("oracle_ridge/dLv_dlam")), rtol=0.05)
    np.testing.assert_allclose(results["tuning_loss"], float(stn.golden("oracle_ridge/Lv")), rtol=1e-5)


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX a program sees the global batch")
def test_self_tuning_on_two_replicas_averages_their_gradients():
    """Checks that each step uses a gradient of 1, the mean of 3 and -1."""
    steps, total, squares = call_on_two_devices("tests.callbacks.tuning_replicas", "average_gradients")
    assert steps > 0
    assert total == squares == steps
