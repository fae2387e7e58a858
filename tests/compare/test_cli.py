"""Tests of the command line: errors are one line on stderr with exit code 2, and the choice of the backend."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_reg.compare import backend, cli
from tests.compare.data_files import write_npz
from tests.support.tiers import ON_TORCH

pytest.importorskip("sklearn")

BAD = {
    "unknown method": (["--methods", "mixup"], "unknown method 'mixup'"),
    "unknown parameter": (["--methods", "early_learning:power=2"], "no parameter 'power'"),
    "bad parameter": (["--methods", "early_learning:momentum=1.5"], "early_learning:momentum=1.5: `momentum` must be"),
    "missing data": (["--dataset", "missing.npz"], "'missing.npz' is neither"),
    "missing labels": (["--noise", "missing.csv"], "'missing.csv' is not an existing file"),
    "bad noise": (["--noise", "symmetric:much"], "needs a rate"),
    "noise rate": (["--noise", "symmetric:1.4"], "between 0 and 1"),
    "bad model": (["--model", "nowhere:model"], "cannot be imported"),
    "unknown model": (["--model", "vgg"], "must be one of auto"),
    "image model on a table": (["--model", "cnn", "--dataset", "wine"], "needs images"),
    "negative epochs": (["--epochs", "-1"], "`epochs` must be an integer of at least 1. Received: epochs=-1"),
    "epochs in words": (["--epochs", "many"], "invalid int value: 'many'"),
    "no batch": (["--batch-size", "0"], "`batch_size` must be an integer of at least 1. Received: batch_size=0"),
    "learning rate": (
        ["--learning-rate", "-0.1"],
        "`learning_rate` must be a finite number above 0. Received: learning_rate=-0.1",
    ),
    "not a learning rate": (
        ["--learning-rate", "nan"],
        "`learning_rate` must be a finite number above 0. Received: learning_rate=nan",
    ),
    "no seeds": (["--seeds", "0"], "between 1 and 1000"),
    "bad seeds": (["--seeds", "a,b"], "numbers separated by commas"),
    "seed twice": (["--seeds", "1,1"], "`seeds` must be one or more different integers"),
    "max samples": (["--max-samples", "0"], "`max_samples` must be an integer of at least 1"),
    "too few samples": (["--max-samples", "5"], "do not cover all classes"),
    "unknown backend": (["--backend", "theano"], "unknown backend 'theano'; known backends are tensorflow, jax, torch"),
    "unknown strategy": (["--strategy", "tpu"], "`strategy` must be one of ('none', 'mirrored')"),
    "unknown option": (["--colour", "red"], "unrecognized arguments: --colour red"),
    "both": (["--resume", "--overwrite"], "are mutually exclusive"),
}
BAD_DATA = {
    "labels out of range": ({"y": np.arange(60) % 3 - 1}, "labels must be integers from 0"),
    "one class": ({"y": np.zeros(60, int)}, "same class"),
    "empty": ({"x": np.zeros((0, 5)), "y": np.zeros(0, int)}, "non-empty"),
    "not a number": ({"x": np.full((60, 5), np.nan)}, "NaN"),
    "lengths": ({"y": np.arange(50) % 3}, "60 samples but 50 labels"),
}


def reject(arguments, capsys, folder):
    """Runs the command, checks that it fails with one line, and returns this line."""
    assert cli.main(["compare", "--out", str(folder), *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("keras-reg: error: ")
    assert output.err.count("\n") == 1
    return output.err


@pytest.mark.parametrize("case", BAD)
def test_compare_cli_rejects_bad_arguments(case, capsys, tmp_path):
    arguments, message = BAD[case]
    assert message in reject(arguments, capsys, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BAD_DATA)
def test_compare_cli_rejects_bad_data(case, capsys, tmp_path):
    changes, message = BAD_DATA[case]
    path = write_npz(tmp_path / "data.npz", **changes)
    assert message in reject(["--dataset", path], capsys, tmp_path / "out")


def test_compare_cli_rejects_label_file_of_another_data_set(capsys, tmp_path):
    np.save(tmp_path / "labels.npy", np.zeros(60, int))
    line = reject(["--noise", str(tmp_path / "labels.npy")], capsys, tmp_path / "out")
    assert "60 labels, but digits has 1797 samples" in line


def test_compare_cli_rejects_unwritable_folder(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in reject([], capsys, tmp_path / "file" / "out")


def test_compare_cli_needs_a_command(capsys):
    assert cli.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow has the strategy")
def test_compare_cli_rejects_mirrored_strategy_without_tensorflow(capsys, tmp_path):
    assert "needs the tensorflow backend" in reject(["--strategy", "mirrored"], capsys, tmp_path / "out")


def test_compare_cli_rejects_backend_after_keras_import(capsys, tmp_path):
    other = next(name for name in backend.BACKENDS if name != keras.backend.backend())
    assert f"start with KERAS_BACKEND={other}" in reject(["--backend", other], capsys, tmp_path / "out")


def test_find_backend_option_parses_backend_option():
    assert backend.find_backend_option(["compare", "--backend", "jax"]) == "jax"
    assert backend.find_backend_option(["compare", "--backend=torch", "--json"]) == "torch"
    assert backend.find_backend_option(["compare", "--backend"]) is None
    assert backend.find_backend_option(["compare"]) is None


@ON_TORCH
def test_backend_option_takes_effect_in_new_process():
    active = keras.backend.backend()
    other = next((name for name in ("torch", "jax") if name != active and importlib.util.find_spec(name)), None)
    if other is None:
        pytest.skip("a second backend is not installed")
    # The error names the current backend of Keras, so no training is needed.
    words = [sys.executable, "-m", "keras_reg", "compare", "--strategy", "mirrored", "--backend", other]
    environment = {**os.environ, "KERAS_BACKEND": active}
    process = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert process.returncode == 2
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    expected = f"keras-reg: error: --strategy mirrored needs the tensorflow backend; the backend is {other}"
    assert process.stderr.splitlines()[-1] == expected


@ON_TORCH
def test_package_import_loads_neither_comparison_nor_extras():
    program = """
import sys, keras
before = set(sys.modules)
import keras_reg
job = [name for name in sys.modules if name.startswith("keras_reg.compare.")]
import keras_reg.compare.runner
print(job, sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert process.stdout.startswith("[] [")
    assert "'keras_reg'" in process.stdout
    assert not {name for name in ("sklearn", "matplotlib", "rich", "PIL", "scipy") if f"'{name}'" in process.stdout}
