"""Tests that importing `keras_reg.data` is fast, and that its public names are complete."""

import os
import subprocess
import sys

import keras
import pytest

import keras_reg.data

PROBE = """
import sys
import keras
modules = set(sys.modules)
import keras_reg.data
new = {name.partition(".")[0] for name in set(sys.modules) - modules}
heavy = new & {"tensorflow", "jax", "torch", "sklearn", "matplotlib", "pandas"}
import numpy
model = keras.Sequential([keras.Input((4,), name="image"), keras.layers.Dense(3)])
keras_reg.data.with_sample_ids(model, numpy.zeros((3, 4), "float32"))
class Numbers(keras.utils.PyDataset):
    num_batches = 1
    def __getitem__(self, index):
        return numpy.zeros((3, 4), "float32"), numpy.zeros(3)
keras_reg.data.with_sample_ids(model, Numbers())
print(sorted(heavy), "tensorflow" in sys.modules)
"""


@pytest.fixture(scope="module")
def probe():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=os.environ, check=True)
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.xdist_group("data imports")
def test_data_import_loads_no_heavy_packages(probe):
    assert "[]" in probe  # benchmarks/import_time.py measures the seconds.


@pytest.mark.xdist_group("data imports")
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="Keras itself imports TensorFlow")
def test_data_import_does_not_load_tensorflow(probe):
    assert probe.endswith("False")


def test_data_public_names_are_complete():
    assert sorted(keras_reg.data.__all__) == sorted(
        [
            "SAMPLE_ID",
            "SampleIdAdapter",
            "accept_sample_ids",
            "asymmetric_noise",
            "load_cifar100n",
            "load_cifar10n",
            "symmetric_noise",
            "with_sample_ids",
        ]
    )
    for name in keras_reg.data.__all__:
        thing = getattr(keras_reg.data, name)
        if callable(thing):
            assert "Example:" in thing.__doc__ or name == "SampleIdAdapter"
    assert keras_reg.data.SAMPLE_ID == "sample_id"
