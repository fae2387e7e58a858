"""The package as a whole: its registry, its public face, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys

import keras
import pytest

import keras_reg
from keras_reg._registry import KINDS, export
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

    with pytest.raises(ValueError, match=r"one of .*Received: kind='gadget'"):
        export("callbacks.New", kind="gadget")
    with pytest.raises(ValueError, match=r"already taken.*Received"):
        export("callbacks.EarlyLearningRegularization", kind="callback")(Documented)
    with pytest.raises(ValueError, match=r"needs a docstring.*Received"):
        export("callbacks.New", kind="callback")(Bare)
    assert not keras_reg.list_methods("callbacks.New")


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
