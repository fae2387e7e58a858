"""Trains one model with two workers on this machine, and resumes after one of them was killed.

    python examples/two_workers.py

The script starts itself twice, with TensorFlow. On several machines, start `work` once on each machine. `TF_CONFIG`
must contain the addresses of all machines, and all of them need access to the backup folder. If you kill a worker
during training, all workers are stopped and started again. They resume from the last epoch, with the memory of the
method.
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
    """Creates data whose class is the largest of ten sums. One label in five is drawn again, and is mostly wrong."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, 32)).astype("float32")
    y = (x @ rng.normal(size=(32, CLASSES))).argmax(1)
    return x, np.where(rng.random(SAMPLES) < 0.2, rng.integers(0, CLASSES, SAMPLES), y).astype("int32")


def work(folder: str, epochs: int = 10) -> None:
    """Trains on one worker. All workers read the same data and use the same seed, so that they shuffle equally."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()  # must come first; it finds the others by `TF_CONFIG`
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
        # `batch_size` counts the samples of both workers: each one trains on half of every batch.
        model.fit(x, y, batch_size=64, epochs=epochs, verbose=2 * first, callbacks=[regularizer, backup])
        model.save(f"{folder}/model.keras")  # all workers call it; only the first one writes
    if first:
        print(f"{regularizer.suspected_noise(y).mean():.0%} of the labels are suspected to be wrong")


def start(folder: str, epochs: int) -> list[subprocess.Popen[bytes]]:
    """Starts two workers, which connect to each other at two free ports."""
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
    """Starts the workers, and restarts all of them if one fails. Returns True if all workers finished."""
    for _ in range(attempts):
        workers = start(folder, epochs)
        while all(worker.poll() is None for worker in workers):
            time.sleep(0.2)
        if all(worker.returncode in (0, None) for worker in workers) and not any(worker.wait() for worker in workers):
            return True
        for worker in workers:  # a worker that waits for another one may wait for a long time
            worker.kill()
            worker.wait()
    return False


if __name__ == "__main__":
    if len(sys.argv) == 3:
        work(sys.argv[1], int(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as shared:
            sys.exit(0 if main(shared) and pathlib.Path(shared, "model.keras").exists() else 1)
