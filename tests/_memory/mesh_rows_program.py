"""Compares tables that each device of JAX holds completely or in part. `ask` runs this program."""

from __future__ import annotations

import os
import pathlib
import re
import tempfile

import jax
import keras
import numpy as np

from keras_reg._memory.top_k_memory import TopKMemory
from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation, Storage
from keras_reg.data import with_sample_ids
from tests.support.models import linear
from tests.support.processes import answer

# JAX reads these flags when it creates the first array. It does not dump programs from its compilation cache.
PROGRAMS = tempfile.TemporaryDirectory()
SEEN: set[pathlib.Path] = set()
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=4 --xla_dump_hlo_as_text --xla_dump_hlo_module_re=train_step "
    f"--xla_dump_to={PROGRAMS.name}"
)
jax.config.update("jax_enable_compilation_cache", False)

# With the row for masked ids, two devices need one more row. These sizes occur nowhere else in a program.
SAMPLES, WHOLE, PART = 1000, 1002, 501
# The ids contain both ends of both parts. They repeat within the part of a device, between parts and between steps.
IDS = np.array([0, 500, 999, 501, 999, 7, 7, 0, 8, -1, 640, 3, 640, 999, 7, 501], "int32")
METHODS = {"early_learning": EarlyLearningRegularization, "self_distillation": ProgressiveSelfDistillation}
STORAGES = {
    "float32": {},
    "float16, top 2": {"dtype": "float16", "top_k": 2},
    "bfloat16, top 2": {"dtype": "bfloat16", "top_k": 2},
}


def data_parallel() -> keras.distribution.Distribution:
    return keras.distribution.DataParallel(devices=keras.distribution.list_devices()[:2])


def model_parallel() -> keras.distribution.Distribution:
    mesh = keras.distribution.DeviceMesh((2, 2), ("samples", "model"), keras.distribution.list_devices())
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*/kernel"] = ("model", None)
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="samples")


DISTRIBUTIONS = {"data_parallel": data_parallel, "model_parallel": model_parallel}


def run(cls, storage: Storage, epochs: int, folder: pathlib.Path | None = None):
    """Returns the callback, and the weights and rows after some epochs. Resumes from a backup in the folder."""
    model = linear()
    model.set_weights([np.linspace(-1, 1, 30).reshape(6, 5), np.zeros(5)])
    rng = np.random.default_rng(1)
    x = with_sample_ids(model, rng.normal(size=(len(IDS), 6)).astype("float32")) | {"sample_id": IDS}
    y = rng.integers(0, 5, len(IDS)).astype("int32")
    callback = cls(SAMPLES, 5, storage=storage, **({"epochs": 4} if cls is ProgressiveSelfDistillation else {}))
    backup = [keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)] if folder else []
    model.fit(x, y, 8, epochs, shuffle=False, verbose=0, callbacks=[callback, *backup])
    visited = callback.memory.numpy_visited()
    np.testing.assert_array_equal(np.flatnonzero(visited), np.unique(IDS[IDS >= 0]))
    return callback, (*model.get_weights(), callback.memory.numpy())


def read_programs() -> list[str]:
    """Returns the training steps that were compiled since the last call, as each device runs them."""
    files = set(pathlib.Path(PROGRAMS.name).glob("*train_step*after_optimizations.txt")) - SEEN
    SEEN.update(files)
    return [file.read_text() for file in files]


def find_parts(callback) -> list[list[tuple[int, int]]]:
    """Returns, for each variable of a table, the first row and the number of rows that each device holds."""
    variables = [variable for variable in callback.memory.variables if variable.shape]
    return [
        [(shard.index[0].start or 0, shard.data.shape[0]) for shard in variable.value.addressable_shards]
        for variable in variables
    ]


def check_divided(callback, devices: int) -> None:
    per_device = [(0, PART)] * (devices // 2) + [(PART, PART)] * (devices // 2)
    parts = find_parts(callback)
    assert parts == [per_device] * (4 if isinstance(callback.memory, TopKMemory) else 2), parts


def train(method: str, storage: str, distribution: str) -> None:
    """Checks that training with sharded rows equals training with whole tables, bit for bit, also when it resumes."""
    cls, arguments = METHODS[method], STORAGES[storage]
    with DISTRIBUTIONS[distribution]().scope(), tempfile.TemporaryDirectory() as folder:
        whole, expected = run(cls, Storage(**arguments), 4)
        read_programs()
        run(cls, Storage(sharded=True, **arguments), 2, pathlib.Path(folder))
        divided, results = run(cls, Storage(sharded=True, **arguments), 4, pathlib.Path(folder))
        for result, array in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, array)
        check_divided(divided, 2 if distribution == "data_parallel" else 4)
        assert np.isclose(divided.memory.bytes_per_sample, whole.memory.bytes_per_sample / 2)
        steps = read_programs()
        assert len(steps) == 2, f"{len(steps)} steps were compiled for two training runs"
        for step in steps:
            assert f"[{PART}" in step
            assert not re.findall(rf"\b\w+\[{WHOLE}\b.*", step), "a device has the whole table"
            copied = re.findall(rf"= \w+\[{PART}\S* copy\(.*", step)
            assert not copied, f"the step copies rows: {copied}"


def exchange_checkpoints(storage: str) -> None:
    """Loads checkpoints of sharded tables into whole tables without a distribution, and vice versa."""
    arguments = STORAGES[storage]
    with tempfile.TemporaryDirectory() as folder:
        files = {name: pathlib.Path(folder, f"{name}.npz") for name in ("whole", "divided")}
        with data_parallel().scope():
            divided, _ = run(EarlyLearningRegularization, Storage(sharded=True, **arguments), 1)
        divided.save_state(files["divided"])
        whole, _ = run(EarlyLearningRegularization, Storage(**arguments), 2)
        whole.save_state(files["whole"])
        tables = {"whole": whole.memory.numpy(), "divided": divided.memory.numpy()}
        assert np.abs(tables["whole"] - tables["divided"]).max() > 0.01
        whole.load_state(files["divided"])
        divided.load_state(files["whole"])
        np.testing.assert_array_equal(whole.memory.numpy(), tables["divided"])
        np.testing.assert_array_equal(divided.memory.numpy(), tables["whole"])
        np.testing.assert_array_equal(divided.memory.numpy_visited(), whole.memory.numpy_visited())
        check_divided(divided, 2)
        saved = {name: np.load(file) for name, file in files.items()}
        shapes = {name: {key: file[key].shape for key in file.files} for name, file in saved.items()}
        assert shapes["whole"] == shapes["divided"], shapes


def leave_whole() -> None:
    """Checks that a table has the layout of the `LayoutMap` if no axis of the mesh divides a batch."""
    devices = keras.distribution.list_devices()[:2]
    mesh = keras.distribution.DeviceMesh((1, 2), ("samples", "model"), devices)
    layout = keras.distribution.LayoutMap(mesh)
    layout["memory/values"] = (None, "model")
    with keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="samples").scope():
        memory = Storage(sharded=True).create(10, 4, "memory")
    assert [shard.data.shape for shard in memory.values.value.addressable_shards] == [(11, 2)] * 2
    assert memory.bytes_per_sample == 4 * 4 + 1


def call(name: str, *arguments: str) -> None:
    {"train": train, "exchange_checkpoints": exchange_checkpoints, "leave_whole": leave_whole}[name](*arguments)


if __name__ == "__main__":
    answer(call)
