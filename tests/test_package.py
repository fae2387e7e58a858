"""Tests of the package as a whole: its registry, its public names, and the cost of importing it."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys

import keras
import pytest

import keras_reg
from keras_reg._registry import KINDS, PLACES, TASKS, export
from keras_reg.compare.catalogue import METHODS
from tests.support.tiers import NOT_ON_JAX


def test_listed_methods_are_public_and_registered():
    methods = keras_reg.list_methods()
    assert "callbacks.EarlyLearningRegularization" in [method.name for method in methods]
    for method in methods:
        room, name = method.name.split(".")
        assert getattr(getattr(keras_reg, room), name) is method.cls
        assert name in getattr(keras_reg, room).__all__
        assert keras.saving.get_registered_object(f"keras_reg>{name}") is method.cls
        assert method.kind in KINDS
        assert method.summary.endswith(".")
        assert method.arxiv is None or (len(method.arxiv) == 10 and 1990 < method.year < 2100)


def test_list_methods_accepts_pattern():
    assert keras_reg.list_methods("callbacks.Early*")[0].arxiv == "2007.00151"
    assert keras_reg.list_methods("nothing.*") == []


def test_export_rejects_repeated_unknown_and_undocumented_classes():
    class Documented:
        """Has a docstring."""

    class Bare:
        pass

    with pytest.raises(ValueError, match=r"must be from .*Received: kind=\['gadget'"):
        export("callbacks.New", kind="gadget", tasks=["noisy labels"])
    with pytest.raises(ValueError, match=r"already taken.*Received"):
        export("callbacks.EarlyLearningRegularization", kind="callback", tasks=["noisy labels"])(Documented)
    with pytest.raises(ValueError, match=r"needs a docstring.*Received"):
        export("callbacks.New", kind="callback", tasks=["noisy labels"])(Bare)
    assert not keras_reg.list_methods("callbacks.New")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"kind": "callback", "tasks": []}, "`tasks` must be from"),
        ({"kind": "callback", "tasks": ["cooking"]}, "`tasks` must be from.*cooking"),
        ({"kind": "callback", "tasks": ["calibration"], "place": "kitchen"}, "`place` must be from.*kitchen"),
    ],
)
def test_export_rejects_unknown_words(words, says):
    with pytest.raises(ValueError, match=says):
        export("callbacks.New", **words)


def test_methods_are_hashable_and_cannot_be_changed():
    methods = keras_reg.list_methods()
    assert len(set(methods)) == len(methods)
    with pytest.raises(TypeError):
        methods[0].tunable["strength"] = None


def test_list_methods_selects_by_task():
    noisy = [method.name for method in keras_reg.list_methods(task="noisy labels")]
    assert noisy == ["callbacks.EarlyLearningRegularization", "callbacks.ProgressiveSelfDistillation"]
    assert keras_reg.list_methods("layers.*", task="noisy labels") == []
    with pytest.raises(ValueError, match=r"`task` must be one of .*Received: task='cooking'"):
        keras_reg.list_methods(task="cooking")
    assert {task for method in keras_reg.list_methods() for task in method.tasks} == set(TASKS)
    assert {method.place for method in keras_reg.list_methods()} == set(PLACES)


@pytest.mark.parametrize("method", [m for m in keras_reg.list_methods() if m.tunable], ids=lambda method: method.name)
def test_tunable_arguments_have_ranges_around_their_defaults(method):
    parameters = inspect.signature(method.cls).parameters
    for name, values in method.tunable.items():
        assert values.low < values.high
        assert not values.log or values.low > 0
        default = parameters[name].default
        assert default is inspect.Parameter.empty or values.low <= default <= values.high


def test_searches_of_the_comparison_stay_in_the_ranges_of_the_registry():
    ranges = {method.name: method.tunable for method in keras_reg.list_methods()}
    searched = 0
    for method in METHODS.values():
        for setting in method.search if method.public else ():
            for name, value in setting.items():
                if name in ranges[method.public]:
                    assert ranges[method.public][name].low <= value <= ranges[method.public][name].high
                    searched += 1
    assert searched >= 32


@NOT_ON_JAX
def test_package_import_loads_no_other_backend_and_no_extra():
    program = (
        "import sys, keras; before = set(sys.modules); import keras_reg; print(*sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in run.stdout.split()}
    assert "keras_reg" in imported
    assert not imported & {"tensorflow", "jax", "torch", "sklearn", "matplotlib", "rich", "PIL", "pandas", "scipy"}


def test_package_version_equals_metadata_version():
    from importlib import metadata

    assert keras_reg.__version__ == metadata.version("keras_reg")
