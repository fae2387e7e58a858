"""Trains on two replicas of TensorFlow with tables that each replica holds completely or in part."""

from __future__ import annotations

import pathlib
import shutil

import keras
import numpy as np

from tests.support.replicas import two_replicas

# Two shards hold 13 samples: the second has a row without a sample. Ids repeat between the halves of a batch.
IDS = np.array([0, 7, 12, 3, 7, 12, 6, 5, 2, 11, 11, 8, -1, 9, 12, 4, 6, 0, 1, 6], "int32")


def run(cls, storage, folder: pathlib.Path, epochs: int):
    """Returns the callback, and the weights and rows after some epochs. Resumes from a backup in the folder."""
    from keras_reg.data import with_sample_ids
    from tests.support.models import linear

    with two_replicas():
        model = linear()
    rng = np.random.default_rng(1)
    x = with_sample_ids(model, rng.normal(size=(20, 6)).astype("float32")) | {"sample_id": IDS}
    y = rng.integers(0, 5, 20).astype("int32")
    model.set_weights([np.linspace(-1, 1, 30).reshape(6, 5), np.zeros(5)])
    callback = cls(13, 5, storage=storage, **({"epochs": 4} if "Distillation" in cls.__name__ else {}))
    backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
    # The batches have 8, 8 and 4 samples, so each replica gets 4, 4 and 2 of them.
    model.fit(x, y, 8, epochs, shuffle=False, verbose=0, callbacks=[callback, backup])
    weights, rows = (np.asarray(a, "float64").tolist() for a in (model.get_weights()[0], callback.memory.numpy()))
    visited = callback.memory.numpy_visited()
    assert np.array_equal(np.flatnonzero(visited), np.unique(IDS[IDS >= 0])), visited
    return callback, {"weights": weights, "rows": rows, "visited": visited.tolist()}


def compare(path: str) -> dict[str, dict]:
    """Returns weights and rows for each storage. Writes checkpoints to a folder."""
    from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation, Storage

    folder = pathlib.Path(path)
    _, dense = run(EarlyLearningRegularization, None, folder / "dense", 4)
    run(EarlyLearningRegularization, Storage(sharded=True), folder / "sharded", 2)
    shutil.copytree(folder / "sharded", folder / "exchanged")
    sharded, resumed = run(EarlyLearningRegularization, Storage(sharded=True), folder / "sharded", 4)
    assert np.isclose(sharded.memory.bytes_per_sample, 7 / 13 * (5 * 4 + 1))
    parts = [np.asarray(part) for part in sharded.memory.values.value.values]
    assert [part.shape for part in parts] == [(8, 5)] * 2
    assert np.array_equal(parts[0][:7], np.float32(dense["rows"][:7]))
    assert np.array_equal(parts[1][:6], np.float32(dense["rows"][7:]))
    _, exchanged = run(EarlyLearningRegularization, None, folder / "exchanged", 4)
    results = {"early learning": {"dense": dense, "sharded": resumed, "checkpoint of shards": exchanged}}
    storages = {"dense": Storage("bfloat16", top_k=2), "sharded": Storage("bfloat16", top_k=2, sharded=True)}
    results["self-distillation, top 2"] = {
        name: run(ProgressiveSelfDistillation, storage, folder / f"top_{name}", 3)[1]
        for name, storage in storages.items()
    }
    return results


def reject_id_of_second_replica() -> str:
    """Returns the error message of a `fit` in which only the second replica gets an id that is too large."""
    from keras_reg.callbacks import EarlyLearningRegularization
    from keras_reg.data import with_sample_ids
    from tests.support.models import linear

    with two_replicas():
        model = linear()
    x = with_sample_ids(model, np.ones((8, 6), "float32")) | {"sample_id": np.array([0, 1, 2, 3, 4, 5, 6, 17], "int32")}
    callback = EarlyLearningRegularization(13, 5)
    try:
        model.fit(x, np.zeros(8, "int32"), batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    except ValueError as error:
        return str(error)
    return ""
