"""Measures steps per second and memory of a per-sample table for several sizes and storages.

    KERAS_BACKEND=jax python benchmarks/scaling.py                                     # small tables, every storage
    KERAS_BACKEND=tensorflow python benchmarks/scaling.py --samples 1281167 --classes 1000 --storages top_k=10
    KERAS_BACKEND=jax python benchmarks/scaling.py --replicas 1,2 --storages float32,sharded

A softmax layer on random features is trained with `EarlyLearningRegularization`, or with the method in `--method`. The
sample ids are random numbers from the whole table, so the time is that of the table and of the softmax.

- `plain` is the same training without the method.
- Replicas are parts of one CPU: logical devices of `tf.distribute`, host devices of `keras.distribution`. They share
  the batch. They show what the exchange costs, not what a second device gains.
- Each row is measured in a separate process, whose peak memory is shown. The first steps, which may compile, are not
  measured.
- A storage is the name of a type, or arguments of `keras_reg.callbacks.Storage` that are joined by `+`. `file` is a
  table in a new file in `--folder`, which is deleted afterwards. `sharded` is a table that is divided between replicas.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import subprocess
import sys
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from step_time import Clock

from keras_reg import callbacks, data
from keras_reg.callbacks import Storage

WARM_UP = 10
#: Arguments that accept several values.
SIZES = ("samples", "classes", "replicas", "batch")
METHODS = {
    "early_learning": callbacks.EarlyLearningRegularization,
    "self_distillation": callbacks.ProgressiveSelfDistillation,
}


def storage(text: str, folder: str) -> Any:
    """Parses a storage such as `top_k=10+dtype=bfloat16`, `file+dtype=float16` or `float16`; files go to `folder`."""
    arguments = dict(part.partition("=")[::2] for part in text.split("+"))
    if not {"dtype", "top_k", "file", "sharded"} & set(arguments):
        return text
    top_k = int(arguments["top_k"]) if "top_k" in arguments else None
    file = os.path.join(folder, "rows") if "file" in arguments else None
    return Storage(arguments.get("dtype"), top_k=top_k, sharded="sharded" in arguments, file=file)


def on_replicas(count: int) -> contextlib.AbstractContextManager[None]:
    """Returns the scope for a model that trains on `count` parts of the CPU."""
    if count == 1:
        return contextlib.nullcontext()
    if keras.backend.backend() == "jax":
        return keras.distribution.DataParallel(devices=keras.distribution.list_devices()).scope()
    import tensorflow as tf

    part = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [part] * count)
    return tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)]).scope()


def measure(given: argparse.Namespace, folder: str) -> str:
    """Sets up the replicas in this process, and returns the table's row for one size and storage."""
    with on_replicas(given.replicas):
        return train(given, folder)


def train(given: argparse.Namespace, folder: str) -> str:
    """Trains on the current devices, and returns the table's row for one size and storage."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    rows = given.batch * given.steps
    model = keras.Sequential([keras.Input((64,), name="features"), keras.layers.Dense(given.classes)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compiled = given.jit_compile or keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(0.01), loss, jit_compile=compiled)
    x = data.with_sample_ids(model, np.resize(rng.normal(size=(4096, 64)).astype("float32"), (rows, 64)))
    x["sample_id"] = rng.integers(0, given.samples, rows).astype("int32")
    y = rng.integers(0, given.classes, rows).astype("int32")
    clock, method, per_sample = Clock(given.steps, WARM_UP), None, 0.0
    if given.one != "plain":
        rows_in = storage(given.one, folder)
        method = METHODS[given.method](given.samples, given.classes, storage=rows_in, save_memory=False)
    used = [clock, *([method] if method else [])]
    model.fit(x, y, batch_size=given.batch, epochs=2, shuffle=False, verbose=0, callbacks=used)
    if method:
        per_sample = method.memory.bytes_per_sample
        visited = method.memory.numpy_visited().sum()
        if visited != len(np.unique(x["sample_id"])):
            raise ValueError(f"The table has other rows than the data. Received: {visited}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    mode = "XLA" if compiled else "graph"
    mode = "eager" if keras.backend.backend() == "torch" else mode
    return (
        f"| {keras.backend.backend()} | {mode} | {given.samples:,} x {given.classes:,} | {given.one} "
        f"| {given.replicas} | {given.batch} | {per_sample:,.0f} | {per_sample * given.samples / 2**30:.3f} "
        f"| {1 / clock.per_step[0]:.1f} | {peak:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", default="50000,1000000", help="numbers of rows in the table")
    parser.add_argument("--classes", default="10,100")
    parser.add_argument("--storages", default="float32,float16,bfloat16,top_k=5", help="`plain` always comes first")
    parser.add_argument("--method", choices=METHODS, default="early_learning")
    parser.add_argument("--batch", default="256", help="samples per batch, over all replicas")
    parser.add_argument("--replicas", default="1")
    parser.add_argument("--steps", type=int, default=210, help=f"steps per epoch; the first {WARM_UP} are not measured")
    parser.add_argument("--jit-compile", action="store_true", help="use XLA with TensorFlow")
    parser.add_argument("--folder", default=".", help="the folder for files with rows")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        for name in SIZES:
            setattr(given, name, int(getattr(given, name)))
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            print(measure(given, folder))
        return
    columns = "backend | compiled | samples x classes | storage | replicas | batch | bytes per sample | table (GiB)"
    print(f"| {columns} | steps/s | peak of the process (GiB) |\n|{'---|' * 10}")
    for sizes in itertools.product(*(getattr(given, name).split(",") for name in SIZES)):
        for one in ("plain", *given.storages.split(",")):
            arguments = ["--one", one, "--method", given.method, "--steps", str(given.steps), "--folder", given.folder]
            for name, size in zip(SIZES, sizes, strict=True):
                arguments += [f"--{name}", size]
            arguments += ["--jit-compile"] * given.jit_compile
            # JAX reads this variable when it is imported, so it must be set before the process starts.
            flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={sizes[SIZES.index('replicas')]}"}
            environment = {**os.environ, **(flags if keras.backend.backend() == "jax" else {})}
            command = [sys.executable, __file__, *arguments]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            print(done.stdout.splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
