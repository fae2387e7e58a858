"""What every test has: repeatable seeds, a clean Keras, and real data that scikit-learn bundles."""

from __future__ import annotations

import gc
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. Threads that wait for each other there make PyTorch slower by a factor of ten.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.get("KERAS_BACKEND") == "jax":
    # The rules train the same few models again and again, and compiling them is most of the time: what is compiled is
    # kept for the run, for the processes that tests start too. Workers do not share it: JAX may read half a file.
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras
import numpy as np
import pytest

from keras_reg.ops import compilation


@pytest.fixture(autouse=True)
def seeds():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()
    if keras.backend.backend() == "tensorflow":
        forget_graphs()
    # What is left stays: looking through it after each test would take seconds.
    gc.freeze()


def forget_graphs() -> None:
    """Frees what was traced: TensorFlow keeps each custom gradient by its name, with its graph, for good."""
    from tensorflow.python.framework import ops

    registry = ops.gradient_registry._registry
    traced = [name for name in registry if name.startswith("CustomGradient-")]
    for name in traced:
        del registry[name]
    if traced:
        gc.collect()


@pytest.fixture(params=[False, True], ids=["few numbers", "many numbers"])
def many_numbers(request, monkeypatch):
    """Kernels as small as those of tests, and the same as large ones, which TensorFlow compiles in its graphs."""
    if request.param:
        if keras.backend.backend() != "tensorflow":
            pytest.skip("only TensorFlow treats large kernels in another way")
        monkeypatch.setattr(compilation, "_MANY", 0)
        compilation._tensorflow_function.cache_clear()
    yield request.param
    compilation._tensorflow_function.cache_clear()


@pytest.fixture(scope="session")
def backend() -> str:
    return keras.backend.backend()


@pytest.fixture(scope="session")
def compile_modes() -> list[dict]:
    """How a step can be compiled here: eager, and by graph and XLA where the backend has them."""
    modes = [{"run_eagerly": True}]
    if keras.backend.backend() == "tensorflow":
        modes.append({"jit_compile": False})
    if keras.backend.backend() != "torch":
        modes.append({"jit_compile": True})
    return modes


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """300 images of handwritten digits, (300, 64) in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:300] / 16.0).astype("float32"), y[:300].astype("int32")


@pytest.fixture(params=["float32", "float64"])
def floatx(request):
    """Both types that methods are checked in: float32, which models train in, and float64, in which errors show."""
    keras.config.set_floatx(request.param)
    # A layer that was made while tests were collected has fixed the policy.
    keras.config.set_dtype_policy(request.param)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    keras.config.set_floatx("float32")
    if keras.backend.backend() == "jax":
        jax.config.update("jax_enable_x64", False)
