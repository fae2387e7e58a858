"""The package as a whole: its registry, its public face, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

import keras_reg
from keras_reg.export import KINDS, export


def test_every_listed_method_is_public_under_its_name_and_registered():
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


def test_list_methods_takes_a_pattern():
    assert keras_reg.list_methods("callbacks.Early*")[0].arxiv == "2007.00151"
    assert keras_reg.list_methods("nothing.*") == []


def test_a_class_cannot_be_listed_twice_under_an_unknown_kind_or_without_documentation():
    class Documented:
        """Has a docstring."""

    class Bare:
        pass

    with pytest.raises(ValueError, match=r"one of .*Received: kind='gadget'"):
        export("callbacks.New", kind="gadget")
    with pytest.raises(ValueError, match=r"already taken.*Received"):
        export("callbacks.EarlyLearningRegularization", kind="callback")(Documented)
    with pytest.raises(ValueError, match=r"needs a docstring.*Received"):
        export("callbacks.New", kind="callback")(Bare)
    assert not keras_reg.list_methods("callbacks.New")


def test_importing_the_package_imports_no_other_backend_and_no_extra():
    program = (
        "import sys, keras; before = set(sys.modules); import keras_reg; print(*sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    imported = {name.split(".")[0] for name in run.stdout.split()}
    assert "keras_reg" in imported
    assert not imported & {"tensorflow", "jax", "torch", "sklearn", "matplotlib", "rich", "PIL", "pandas", "scipy"}


def test_there_is_one_version():
    from importlib import metadata

    assert keras_reg.__version__ == metadata.version("keras_reg")
