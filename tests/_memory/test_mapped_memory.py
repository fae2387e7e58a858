"""Tests of rows in a file on the host: they equal rows in memory bit for bit, also after resuming."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._keras import replicas
from keras_reg._memory.mapped_memory import MappedMemory
from keras_reg._memory.memory import PerSampleMemory
from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation, Storage
from tests._memory.test_storage import METHODS, MODE, classifier, data, train
from tests.support.processes import run_python
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

BACKEND = keras.backend.backend()


def jax_version():
    return tuple(int(number) for number in importlib.metadata.version("jax").split(".")[:2])


@pytest.fixture
def file(tmp_path):
    return tmp_path / "rows"


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_file_memory_equals_memory_table(file, dtype):
    """Writes duplicates, masked ids, ids out of range and values that are not finite, several times."""
    tables = MappedMemory(6, 3, dtype, "memory", str(file)), PerSampleMemory(6, 3, dtype)
    rng, results = np.random.default_rng(0), []
    batches = [(rng.integers(-2, 8, 9), rng.normal(size=(9, 3)).astype("float32")) for _ in range(3)]
    batches[1][1][[1, 4], 1] = np.nan, np.inf
    for table in tables:
        steps = [(table.read(ids), table.write(ids, values), table.read(ids)) for ids, values in batches]
        arrays = [ops.convert_to_numpy(tensor) for step in steps for tensor in (*step[0], step[1], *step[2])]
        arrays += [ops.convert_to_numpy(table.out_of_range), table.numpy_visited(), table.largest()]
        results.append([*arrays, table.numpy().astype("float32")])
    for mapped, dense in zip(*results, strict=True):
        np.testing.assert_array_equal(mapped, dense)
        assert mapped.dtype == dense.dtype
    assert results[0][2].any()
    assert tables[0].numpy().dtype == dtype
    assert tables[0].bytes_per_sample == tables[1].bytes_per_sample == 3 * np.dtype(dtype).itemsize + 1


@ON_TORCH
@pytest.mark.parametrize("cls", METHODS)
def test_file_memory_trains_as_memory_table(file, cls):
    """Compares rows and weights bit for bit."""
    expected, results = train(cls, None), train(cls, Storage(file=file))
    # The two steps are different programs, and with JAX 0.12 XLA rounds them differently.
    tolerance = 1e-6 if BACKEND == "jax" and jax_version() >= (0, 12) else 0.0
    for result, array in zip(results, expected, strict=True):
        np.testing.assert_allclose(result, array, rtol=tolerance, atol=tolerance / 10)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs of TensorFlow")
@pytest.mark.parametrize("steps", [1, 3])
def test_file_memory_in_tensorflow_graphs_reads_rows_of_last_step(tmp_path, steps):
    results = []
    for storage in (Storage("float16"), Storage("float16", file=tmp_path / "rows")):
        model, callback = classifier(), EarlyLearningRegularization(12, 5, storage=storage)
        model.compile(keras.optimizers.SGD(0.1), model.loss, steps_per_execution=steps)
        model.fit(*data(model), batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[callback])
        results.append((model.get_weights()[0], callback.targets))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def train_part(epochs, callback, folder, *others):
    """Trains up to an epoch. Resumes from a backup in the folder."""
    model = classifier(**MODE)
    backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    model.fit(*data(model), 4, epochs, verbose=0, shuffle=False, callbacks=[callback, backup, *others])
    return model.get_weights()[0], callback.memory.numpy()


class Kill(keras.callbacks.Callback):
    """Kills the process in the middle of the third epoch, or raises an error there."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 1):
            if self.error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise self.error


@ON_TORCH
def test_file_memory_rolls_back_to_checkpoint(tmp_path):
    """Stops within an epoch, so that the file has newer rows than the checkpoint. Resuming undoes them."""

    def callback(storage=None):
        return ProgressiveSelfDistillation(12, 5, epochs=4, storage=storage)

    expected = train(None, None, epochs=4, callback=callback())
    storage = Storage(file=tmp_path / "rows")
    with pytest.raises(KeyboardInterrupt):
        train_part(4, callback(storage), tmp_path / "backup", Kill(KeyboardInterrupt()))
    resumed = train_part(4, callback(storage), tmp_path / "backup")
    np.testing.assert_array_equal(resumed[0], expected[0])
    np.testing.assert_array_equal(resumed[1], expected[1])


@ON_TORCH
@pytest.mark.slow
@pytest.mark.any_backend
def test_file_memory_resumes_exactly_after_kill(tmp_path):
    run_python("-m", "tests._memory.test_mapped_memory", str(tmp_path), accepted=(-signal.SIGKILL,))
    callback = EarlyLearningRegularization(12, 5, storage=Storage(file=tmp_path / "rows"))
    resumed = train_part(4, callback, tmp_path / "backup")
    expected = train(EarlyLearningRegularization, None, epochs=4)
    np.testing.assert_array_equal(resumed[0], expected[0])
    np.testing.assert_array_equal(resumed[1], expected[1])


@ON_TORCH
@pytest.mark.any_backend
def test_saved_state_refers_to_rows_of_file_memory(tmp_path, file):
    """Checks that the state is small, and that loading it restores the rows in the same file and in no other."""
    half, model = EarlyLearningRegularization(12, 5, storage=Storage(file=file)), classifier(**MODE)
    train(None, None, epochs=2, callback=half, model=model)
    half.save_state(tmp_path / "state.npz")
    rows = half.targets.copy()
    train(None, None, epochs=1, callback=half, model=model)
    expected = half.targets.copy()
    assert (expected != rows).any()
    resumed = EarlyLearningRegularization(12, 5, storage=Storage(file=file))
    resumed.load_state(tmp_path / "state.npz")
    train(None, None, epochs=1, callback=resumed)
    np.testing.assert_array_equal(resumed.targets, expected)
    with np.load(tmp_path / "state.npz") as saved:
        assert saved["early_learning.targets.values"].shape == (4,)
    dense = EarlyLearningRegularization(12, 5)
    dense.load_state(tmp_path / "state.npz")
    with pytest.raises(ValueError, match=r"expected \(13, 5\). Was it saved with a different .*`storage`"):
        train(None, None, callback=dense)
    other = EarlyLearningRegularization(12, 5, storage=Storage(file=tmp_path / "other"))
    other.load_state(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="does not match `file`"):
        train(None, None, callback=other)


@ON_TORCH
@pytest.mark.any_backend
def test_file_memory_rejects_rows_of_another_training(file):
    first, first_model = EarlyLearningRegularization(12, 5, storage=Storage(file=file)), classifier(**MODE)
    train(None, None, epochs=1, callback=first, model=first_model)
    rows = first.targets.copy()
    second = EarlyLearningRegularization(12, 5, storage=Storage(file=file))
    model = classifier(**MODE)
    with pytest.raises(ValueError, match=r"rows of another training run.*delete the file.*Received: file='.*rows'"):
        model.fit(*data(model), verbose=0, callbacks=[second])
    assert "compute_loss" not in vars(model)
    np.testing.assert_array_equal(first.targets, rows)
    train(None, None, epochs=1, callback=first, model=first_model)
    assert (first.targets != rows).any()


@pytest.mark.any_backend
def test_file_memory_accepts_file_without_rows(file):
    """Uses the file of a training run that failed before its first step."""
    MappedMemory(12, 5, "float32", "memory", str(file))
    assert train(EarlyLearningRegularization, Storage(file=file), epochs=1)[1].any()


@pytest.mark.any_backend
def test_file_memory_prefetches_rows(file):
    callback = EarlyLearningRegularization(12, 5, storage=Storage(file=file))
    callback.prefetch([1])  # Batches may be prepared before `fit` has begun.
    train(None, None, epochs=1, callback=callback)
    calls = []
    callback.memory.row_file.prefetch = calls.append
    callback.prefetch([3, -1])
    assert calls == [[3, -1]]
    dense = EarlyLearningRegularization(12, 5)
    train(None, None, epochs=1, callback=dense)
    dense.prefetch([3, -1])


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"file": 3}, r"path of a file.*Received: file=3"),
        ({"file": ""}, r"path of a file.*Received: file=''"),
        ({"file": True}, r"path of a file.*Received: file=True"),
        ({"file": "rows", "top_k": 2}, r"Leave out `top_k`.*top_k=2"),
        ({"file": "rows", "dtype": "bfloat16"}, r"float16 instead.*dtype='bfloat16'"),
    ],
)
def test_file_memory_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        EarlyLearningRegularization(12, 5, storage=arguments)


@pytest.mark.any_backend
def test_config_contains_file_of_storage(file):
    config = json.loads(json.dumps(EarlyLearningRegularization(12, 5, storage=Storage(file=file)).get_config()))
    assert config["storage"]["file"] == str(file)
    assert EarlyLearningRegularization.from_config(config).row_storage == Storage(file=str(file))


@pytest.mark.skipif(BACKEND == "jax", reason="compiled steps of JAX can read files")
@pytest.mark.parametrize("cls", METHODS)
def test_file_memory_rejects_xla_compiled_steps(file, cls):
    callback, model = cls(12, 5, storage=Storage(file=file)), classifier(jit_compile=True)

    def start_training():
        if BACKEND == "torch":  # `fit` starts with `torch.compile`, which takes seconds and warns.
            callback.set_params({"epochs": 2})
            callback.check_model(model)
        model.fit(*data(model), epochs=2, verbose=0, callbacks=[callback])

    with pytest.raises(ValueError, match=r"`jit_compile=False`.*Received: .*jit_compile=True"):
        start_training()
    assert not file.exists()


@pytest.mark.skipif(BACKEND != "jax", reason="errors of JAX only")
def test_file_memory_rejects_unsuitable_jax_steps(file, monkeypatch):
    with pytest.raises(ValueError, match=r"computes in float32 unless.*Received: .*dtype='float64'"):
        train(EarlyLearningRegularization, Storage("float64", file=file))
    distribution = type("", (), {"device_mesh": type("", (), {"devices": np.zeros(2)})})
    storage, model = Storage(file=file), classifier()
    monkeypatch.setattr(keras.distribution, "distribution", lambda: distribution)
    with pytest.raises(ValueError, match=r"needs one device.*Received: file="):
        storage.check_model(model)
    monkeypatch.undo()
    storage.check_model(model)
    assert not file.exists()


def test_file_memory_rejects_several_replicas(file, monkeypatch):
    monkeypatch.setattr(replicas, "num_replicas", lambda: 2)
    with pytest.raises(ValueError, match=r"rows of one replica.*with 2 replicas"):
        Storage(file=file).create(12, 5, "memory")
    assert not file.exists()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="`sharded` is allowed without replicas on TensorFlow")
def test_file_memory_rejects_sharding(file):
    with pytest.raises(ValueError, match=r"Leave out.*sharded=True"):
        Storage(sharded=True, file=file)


def main(folder: str) -> None:
    """Trains until the process kills itself."""
    callback = EarlyLearningRegularization(12, 5, storage=Storage(file=f"{folder}/rows"))
    train_part(4, callback, f"{folder}/backup", Kill(None))


if __name__ == "__main__":
    main(sys.argv[1])
