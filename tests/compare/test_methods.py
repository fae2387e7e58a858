"""Tests of the catalogue of compared methods and the notation of variants."""

import types

import numpy as np
import pytest

import keras_reg
from keras_reg.compare import models
from keras_reg.compare.catalogue import METHODS
from keras_reg.compare.errors import InputError
from keras_reg.compare.methods import LEARNING_RATE, TRIALS, Context, parse_variants
from keras_reg.compare.settings import Settings, format_seeds, parse_seeds
from keras_reg.compare.tuning import list_trials, search
from tests.support.tiers import NOT_ON_JAX


def labels(*texts):
    return [variant.label for variant in parse_variants(texts, METHODS)]


def test_compare_runs_all_methods_by_default_with_plain_first():
    default = [name for name, method in METHODS.items() if not method.on_request]
    assert labels() == ["plain", *(name for name in default if name != "plain")]
    measuring = {"CollapseMonitor", "GeneralizedGaussianShape", "RegularizationReport", "SoftmaxCollapseMonitor"}
    # This callback needs its layer in the model, and a second training run without the layer.
    two_phases = {"PolicyGradientNoiseMask"}
    # These callbacks prepare a model for compression after `fit`.
    compressing = {"Polarization", "SparsityMask", "TrainedRankPruning"}
    # These callbacks need hyperparameters, in the model or as an argument.
    tuning = {"HyperparameterSchedule", "ReplaySchedule", "SelfTuning"}
    tuning |= {"TunableLabelSmoothing", "TunableMixup", "TunableCutMix"}
    public = {method.name.split(".")[1] for method in keras_reg.list_methods("callbacks.*")}
    compared = {METHODS[name].public.split(".")[1] for name in default if METHODS[name].public}
    assert compared == public - measuring - two_phases - compressing - tuning
    assert labels("early_learning") == ["plain", "early_learning"]
    assert labels("early_learning", "plain") == ["plain", "early_learning"]


def test_parse_variants_reads_parameters():
    (_, variant) = parse_variants(("early_learning:strength=1:momentum=0.90",), METHODS)
    assert variant.label == "early_learning:momentum=0.9:strength=1"
    assert variant.parameters() == {"strength": 1.0, "momentum": 0.9}
    assert variant.parameters({"strength": 5.0}) == {"strength": 1.0, "momentum": 0.9}
    assert labels("plain:learning_rate=0.01") == ["plain", "plain:learning_rate=0.01"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixup", "unknown method 'mixup'; known methods are plain, early_learning"),
        ("early_learning:power=3", "has no parameter 'power'; it has strength, momentum, learning_rate"),
        ("early_learning:strength", "has no parameter 'strength'|PARAMETER=VALUE"),
        ("early_learning:strength=big", "must be float; it is 'big'"),
        ("early_learning:strength=inf", "must be finite"),
        ("plain:learning_rate=0", "must be positive"),
    ],
)
def test_parse_variants_rejects_bad_notation(text, message):
    with pytest.raises(InputError, match=message):
        labels(text)


def test_parse_variants_rejects_repeated_variant():
    with pytest.raises(InputError, match="listed twice"):
        labels("early_learning:strength=1", "early_learning:strength=1.0")


@pytest.mark.parametrize("name", METHODS)
def test_compared_methods_have_equal_search_sizes(name):
    method = METHODS[name]
    assert len(method.search) == TRIALS
    assert len({tuple(sorted(setting.items())) for setting in method.search}) == TRIALS
    # The default comes first, so that it is kept if another setting is equally good.
    assert {**method.defaults, LEARNING_RATE: 1.0} == {**method.defaults, LEARNING_RATE: 1.0, **method.search[0]}
    assert all(set(setting) <= {*method.defaults, LEARNING_RATE} for setting in method.search)


def test_compared_methods_are_in_package_registry():
    known = {method.name for method in keras_reg.list_methods()}
    assert {method.public for method in METHODS.values() if method.public} <= known


@NOT_ON_JAX
@pytest.mark.parametrize("name", METHODS)
def test_method_plans_contain_arguments_of_fit(name):
    x, y = np.zeros((12, 3), np.float32), np.arange(12) % 2
    context = Context(lambda: models.mlp((3,), 2), x, y, num_classes=2, epochs=1, batch_size=4)
    plan = METHODS[name].plan(context, METHODS[name].defaults)
    assert not plan.model.compiled
    assert len(plan.y) == 12
    assert METHODS[name].extra_bytes(1000, 10) >= 0


def test_trials_are_empty_without_search():
    plain, bare, chosen = parse_variants(("early_learning", "early_learning:strength=1"), METHODS)
    settings = Settings(tune=True, learning_rate=0.01)
    assert len(list_trials(plain, settings)) == len(list_trials(bare, settings)) == TRIALS
    assert list_trials(chosen, settings) == ()
    assert list_trials(bare, Settings()) == ()
    assert list_trials(plain, settings)[0] == {LEARNING_RATE: pytest.approx(0.01)}


def test_search_keeps_first_of_equally_good_settings():
    (plain,) = parse_variants(("plain",), METHODS)
    settings = Settings(tune=True, learning_rate=0.01)
    for accuracies, best in (([0.5] * TRIALS, 0), ([0.4, 0.6, *[0.6] * (TRIALS - 2)], 1)):
        runs = [types.SimpleNamespace(figure=lambda name, choice, value=value: value) for value in accuracies]
        tuned = search(plain, settings, lambda parameters, trial, runs=runs: runs[trial])
        assert tuned == list_trials(plain, settings)[best]


def test_parse_seeds_reads_counts_and_lists():
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("4,7") == (4, 7)
    assert parse_seeds("4,") == (4,)
    for seeds in ((0, 1, 2), (4, 7), (4,)):
        assert parse_seeds(format_seeds(seeds)) == seeds
    assert Settings(seeds=(4, 7)).tuning_seed not in (4, 7)


def test_settings_command_repeats_settings():
    settings = Settings(noise="none", methods=("a", "b:c=1"), seeds=(4,), tune=True, max_samples=50)
    expected = (
        "python -m keras_reg compare --backend jax --noise none --methods a,b:c=1 --seeds 4, --max-samples 50 --tune"
    )
    assert settings.command("jax") == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": 3}, "dataset=3"),
        ({"noise": None}, "noise=None"),
        ({"methods": (1,)}, "methods="),
        ({"model": ""}, "model=''"),
        ({"seeds": ()}, r"seeds=\(\)"),
        ({"seeds": (True,)}, "seeds="),
        ({"seeds": ("1",)}, "seeds="),
        ({"seeds": (-1,)}, "seeds="),
        ({"seeds": (2**30 + 1,)}, "seeds="),
        ({"epochs": True}, "epochs=True"),
        ({"epochs": "3"}, "epochs='3'"),
        ({"batch_size": True}, "batch_size=True"),
        ({"batch_size": "a"}, "batch_size='a'"),
        ({"learning_rate": True}, "learning_rate=True"),
        ({"learning_rate": "a"}, "learning_rate='a'"),
        ({"max_samples": True}, "max_samples=True"),
        ({"max_samples": "a"}, "max_samples='a'"),
        ({"optimizer": "lion"}, "optimizer='lion'"),
        ({"schedule": "linear"}, "schedule='linear'"),
        ({"strategy": "tpu"}, "strategy='tpu'"),
        ({"tune": "no"}, "tune='no'"),
    ],
)
def test_settings_reject_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=f"must be .*Received: {message}"):
        Settings(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": "plain"}, "methods='plain'"),
        ({"seeds": True}, "seeds=True"),
        ({"seeds": "3"}, "seeds='3'"),
        ({"resume": "no"}, "resume='no'"),
        ({"overwrite": 1}, "overwrite=1"),
        ({"progress": "no"}, "progress='no'"),
    ],
)
def test_run_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"must be .*Received: {message}"):
        keras_reg.compare.run("wine", **arguments)
