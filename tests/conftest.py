"""Fixtures for all tests, and the two tiers of the suite. See `pytest_collection_modifyitems`."""

from __future__ import annotations

import gc
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores. Threads that wait for each other would slow PyTorch down by a factor of ten.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.get("KERAS_BACKEND") == "jax":
    # The rules train a few models many times, and compiling them takes most of the time. Compiled programs are
    # therefore cached for the run, also for processes that tests start. Workers do not share the cache, because JAX may
    # read incomplete files.
    COMPILED = tempfile.TemporaryDirectory(prefix="compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = COMPILED.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import keras
import numpy as np
import pytest

from keras_reg._keras import compilation
from tests.support.tensorflow_private import forget_custom_gradients


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full",
        action="store_true",
        help="run every test on this backend; by default, tests that cheaper ones can replace do not run",
    )


@pytest.hookimpl(tryfirst=True)  # This runs before xdist appends group names to test names.
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests that do not belong to the tier.

    Both tiers run tests marked `any_backend` on TensorFlow only, or on the backend of their `fast_on`. The fast tier
    leaves out tests marked `full`, and runs tests marked `fast_on("torch", ...)` on the named backends only.
    CONTRIBUTING.md explains how to choose. A test that is named on the command line as `file::test` always runs.
    """
    if any("::" in argument for argument in config.args):
        return
    backend = keras.backend.backend()

    def runs(item: pytest.Item) -> bool:
        fast_on = item.get_closest_marker("fast_on")
        if item.get_closest_marker("any_backend"):
            return backend in (fast_on.args if fast_on else ("tensorflow",))
        if config.getoption("full"):
            return True
        return not item.get_closest_marker("full") and (fast_on is None or backend in fast_on.args)

    selected = [item for item in items if runs(item)]
    if len(selected) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if not runs(item)])
        items[:] = selected


@pytest.fixture(autouse=True)
def seeds():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()
    if keras.backend.backend() == "tensorflow":
        forget_custom_gradients()
    # Remaining objects are frozen, because scanning them after each test would take seconds.
    gc.freeze()


@pytest.fixture(params=[False, True], ids=["few numbers", "many numbers"])
def many_numbers(request, monkeypatch):
    """Tests small kernels as they are, and as if they were large, so that TensorFlow compiles them in its graphs."""
    if request.param:
        if keras.backend.backend() != "tensorflow":
            pytest.skip("only TensorFlow treats large kernels differently")
        monkeypatch.setattr(compilation, "_MIN_COMPILED_SIZE", 0)
        compilation._compile_function.cache_clear()
    yield request.param
    compilation._compile_function.cache_clear()


@pytest.fixture(scope="session")
def backend() -> str:
    return keras.backend.backend()


@pytest.fixture(scope="session")
def all_compile_modes() -> list[dict]:
    """Returns every way to compile a step on this backend: eager, and graph and XLA where the backend has them."""
    modes = [{"run_eagerly": True}]
    if keras.backend.backend() == "tensorflow":
        modes.append({"jit_compile": False})
    if keras.backend.backend() != "torch":
        modes.append({"jit_compile": True})
    return modes


@pytest.fixture(scope="session")
def compile_modes(all_compile_modes: list[dict], pytestconfig: pytest.Config) -> list[dict]:
    """Returns every way to compile a step with `--full`, and the backend's default in the fast tier.

    The rules of `tests/conformance` compare the compiled step with the eager one for every class. PyTorch runs eager.
    """
    return all_compile_modes if pytestconfig.getoption("full") else all_compile_modes[:2][-1:]


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns 300 images of handwritten digits, shape (300, 64), in [0, 1], and their labels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:300] / 16.0).astype("float32"), y[:300].astype("int32")


@pytest.fixture(params=["float32", "float64"])
def floatx(request):
    """Sets both float types: float32, in which models train, and float64, which reveals errors."""
    keras.config.set_floatx(request.param)
    # A layer that was created during test collection has fixed the policy.
    keras.config.set_dtype_policy(request.param)
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    keras.config.set_floatx("float32")
    if keras.backend.backend() == "jax":
        jax.config.update("jax_enable_x64", False)
