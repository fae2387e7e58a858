"""Two workers on this machine train one model, and go on after one of them was killed.

    python examples/two_workers.py

starts itself twice, with TensorFlow. On several machines each starts `work` once, with the addresses of all of them in
`TF_CONFIG` and a folder for the backup that all of them see. Kill a worker while they train: all are stopped, started
again, and go on from the last epoch, with the memory of the method.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

import keras_reg

SAMPLES, CLASSES = 2_000, 10


def data() -> tuple[np.ndarray, np.ndarray]:
    """A class is the largest of ten sums; one label of five is drawn anew, and mostly wrong."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 32)).astype("float32")
    y = (x @ rng.normal(size=(32, CLASSES))).argmax(1)
    return x, np.where(rng.random(SAMPLES) < 0.2, rng.integers(0, CLASSES, SAMPLES), y).astype("int32")


def work(folder: str, epochs: int = 10) -> None:
    """What every worker does. All have the same seed, so that they shuffle alike, and read the same data."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # first of all: it knows the others by `TF_CONFIG`
    keras.utils.set_random_seed(0)
    x, y = data()
    with strategy.scope():
        layers = [keras.Input((32,), name="features"), keras.layers.Dense(64, "relu"), keras.layers.Dense(CLASSES)]
        model = keras.Sequential(layers)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    regularizer = keras_reg.callbacks.EarlyLearningRegularization(SAMPLES, CLASSES)
    backup = keras.callbacks.BackupAndRestore(f"{folder}/backup")
    first = strategy.cluster_resolver.task_id == 0
    with keras_reg.distribute.multi_worker(model):
        x = keras_reg.data.with_sample_ids(model, x)
        # A batch is that of all workers: each has half of it.
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=2 * first, callbacks=[regularizer, backup])
        model.save(f"{folder}/model.keras")  # by all of them; the first one writes
    if first:
        print(f"{regularizer.suspected_noise(y).mean():.0%} of the labels are suspected to be wrong")


def start(folder: str, epochs: int) -> list[subprocess.Popen[bytes]]:
    """Starts two workers, which find each other at two free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    workers = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ""}
        workers.append(subprocess.Popen([sys.executable, __file__, folder, str(epochs)], env=environment))
    return workers


def main(folder: str, epochs: int = 10, attempts: int = 3) -> bool:
    """Starts the workers again, all of them, as long as one has failed. Returns whether they came to an end."""
    for _ in range(attempts):
        workers = start(folder, epochs)
        while all(worker.poll() is None for worker in workers):
            time.sleep(0.2)
        if all(worker.returncode in (0, None) for worker in workers) and not any(worker.wait() for worker in workers):
            return True
        for worker in workers:  # one that waits for the other may wait for long
            worker.kill()
            worker.wait()
    return False


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work(sys.argv[1], int(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as shared:
            sys.exit(0 if main(shared) and pathlib.Path(shared, "model.keras").exists() else 1)
