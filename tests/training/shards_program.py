"""Trains on two replicas with tables that each replica holds in full, or in part: `... FOLDER` prints the results."""

from __future__ import annotations

import functools
import json
import pathlib
import shutil
import sys

import keras
import numpy as np

from tests.support.replicas import divide_the_processor

# 13 samples in two shards: the second has a row that no sample has. Ids repeat between the halves of a batch.
IDS = np.array([0, 7, 12, 3, 7, 12, 6, 5, 2, 11, 11, 8, -1, 9, 12, 4, 6, 0, 1, 6], "int32")


@functools.cache
def strategy():
    """Two processors: one strategy for all runs, because two in one process get into each other's way."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])


def run(cls, storage, folder: pathlib.Path, epochs: int):
    """Weights and rows after some epochs, going on from a backup in the folder if there is one."""
    from keras_reg.data import with_sample_ids
    from tests.support.models import linear

    with strategy().scope():
        model = linear()
    rng = np.random.default_rng(1)
    x = with_sample_ids(model, rng.normal(size=(20, 6)).astype("float32")) | {"sample_id": IDS}
    y = rng.integers(0, 5, 20).astype("int32")
    model.set_weights([np.linspace(-1, 1, 30).reshape(6, 5), np.zeros(5)])
    callback = cls(13, 5, storage=storage, **({"epochs": 4} if "Distillation" in cls.__name__ else {}))
    backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    # Batches of 8, 8 and 4: the replicas get 4, 4 and 2 samples.
    model.fit(x, y, 8, epochs, shuffle=False, verbose=0, callbacks=[callback, backup])
    weights, rows = (np.asarray(a, "float64").tolist() for a in (model.get_weights()[0], callback.memory.numpy()))
    visited = callback.memory.numpy_visited()
    assert np.array_equal(np.flatnonzero(visited), np.unique(IDS[IDS >= 0])), visited
    return callback, {"weights": weights, "rows": rows, "visited": visited.tolist()}


def main(folder: pathlib.Path) -> dict:
    from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation
    from keras_reg.training import Storage

    _, dense = run(EarlyLearningRegularization, None, folder / "dense", 4)
    run(EarlyLearningRegularization, Storage(sharded=True), folder / "sharded", 2)
    shutil.copytree(folder / "sharded", folder / "exchanged")
    sharded, resumed = run(EarlyLearningRegularization, Storage(sharded=True), folder / "sharded", 4)
    assert np.isclose(sharded.table.bytes_per_sample, 7 / 13 * (5 * 4 + 1))
    parts = [np.asarray(part) for part in sharded.table.values.value.values]
    assert [part.shape for part in parts] == [(8, 5)] * 2
    assert np.array_equal(parts[0][:7], np.float32(dense["rows"][:7]))
    assert np.array_equal(parts[1][:6], np.float32(dense["rows"][7:]))
    _, exchanged = run(EarlyLearningRegularization, None, folder / "exchanged", 4)
    found = {"early learning": {"dense": dense, "sharded": resumed, "checkpoint of shards": exchanged}}
    storages = {"dense": Storage("bfloat16", 2), "sharded": Storage("bfloat16", 2, True)}
    found["self-distillation, top 2"] = {
        name: run(ProgressiveSelfDistillation, storage, folder / f"top_{name}", 3)[1]
        for name, storage in storages.items()
    }
    return found


if __name__ == "__main__":
    divide_the_processor()
    print(json.dumps(main(pathlib.Path(sys.argv[1]))))
