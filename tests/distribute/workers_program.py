"""What two workers do in the tests: `python -m tests.distribute.workers_program STAGE FOLDER [STEP]`, with `TF_CONFIG`.

The stage `straight` tries everything once and ends in a training that kills worker 1 at a step; `resumed` begins with
that training again. What each worker finds is written to `FOLDER/STAGE-INDEX.npz`, and messages to a `.json`.
"""

from __future__ import annotations

import json
import os
import pathlib
import signal
import sys

import keras
import numpy as np

from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation
from keras_reg.data import with_sample_ids

SAMPLES, FEATURES, CLASSES, EPOCHS, BATCH = 22, 4, 3, 4, 8


def problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    return x, rng.integers(0, CLASSES, SAMPLES).astype("int32")


def built(compiled: bool = True, **arguments) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((FEATURES,), name="features"), keras.layers.Dense(6, "tanh"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"], **arguments)
    return model


def methods() -> dict[str, keras.callbacks.Callback]:
    """Both methods that remember: in one training."""
    return {
        "targets": EarlyLearningRegularization(SAMPLES, CLASSES, momentum=0.5),
        "past": ProgressiveSelfDistillation(SAMPLES, CLASSES, epochs=EPOCHS),
    }


def train(model: keras.Model, callbacks: dict, more: tuple = (), **arguments) -> dict[str, np.ndarray]:
    """What a training leaves: weights, memories and logs."""
    x, y = problem()
    arguments = {"batch_size": BATCH, "shuffle": False, "epochs": EPOCHS, "verbose": 0, **arguments}
    logs = model.fit(with_sample_ids(model, x), y, callbacks=[*callbacks.values(), *more], **arguments).history
    found = {f"weight {index}": weight for index, weight in enumerate(model.get_weights())}
    for name, callback in callbacks.items():
        if callback.num_samples is not None:
            found |= {name: callback.memory.numpy(), f"{name} visited": callback.memory.numpy_visited()}
    return {**found, **{f"log {name}": np.array(values) for name, values in logs.items()}}


def straight_training(model: keras.Model, *more) -> dict[str, np.ndarray]:
    x, y = problem()
    return train(model, methods(), more, validation_data=(x, y), validation_batch_size=BATCH)


def frozen_training(model: keras.Model) -> dict[str, np.ndarray]:
    return train(model, {"frozen": ProgressiveSelfDistillation(source="model", epochs=2)}, epochs=2)


class Kills(keras.callbacks.Callback):
    """Ends the process at a step as a failing machine would."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.steps_left = step

    def on_train_batch_end(self, batch, logs=None):
        self.steps_left -= 1
        if self.steps_left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


class BatchLogs(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["loss"]))


def message_of(function) -> str:
    try:
        function()
    except Exception as error:  # what it is, the test says
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


class Worker:
    def __init__(self, stage: str, folder: str, step: str = "0") -> None:
        import tensorflow as tf

        self.index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.folder, self.stage, self.step = pathlib.Path(folder), stage, int(step)
        self.backup = keras.callbacks.BackupAndRestore(self.folder / "backup")

    def built(self, **arguments) -> keras.Model:
        with self.strategy.scope():
            return built(**arguments)

    def write(self, found: dict, **messages: str) -> None:
        np.savez(self.folder / f"{self.stage}-{self.index}.npz", **found)
        (self.folder / f"{self.stage}-{self.index}.json").write_text(json.dumps(messages))

    def straight(self) -> None:
        from keras_reg.distribute import multi_worker

        (x, y), model = problem(), self.built()
        outside = keras.layers.Dense(3)
        outside.build((None, FEATURES))
        with self.strategy.scope():
            mixed = keras.Sequential([keras.Input((FEATURES,)), outside])
            mixed.compile("sgd", "mse")
        messages = {
            "batches": message_of(lambda: model.fit(x, y, batch_size=BATCH, verbose=0)),
            "scalars": message_of(lambda: model.train_on_batch(x, y)),
            "not_compiled": message_of(lambda: multi_worker(self.built(compiled=False)).__enter__()),
            "outside": message_of(lambda: multi_worker(mixed).__enter__()),
        }
        model, batches = self.built(), BatchLogs()
        with multi_worker(model):
            path = self.folder / "checkpoint.keras" if self.index == 0 else self.folder / "of_another_worker.keras"
            found = straight_training(model, keras.callbacks.ModelCheckpoint(path), batches)
            found["batch losses"] = np.array(batches.losses)
            found["predictions"] = model.predict(x, batch_size=BATCH, verbose=0)
            found["evaluation"] = np.array(model.evaluate(x, y, batch_size=BATCH, verbose=0))
            model.save_weights(self.folder / f"{self.index}.weights.h5")
        messages["left_behind"] = " ".join(sorted({"fit", "save", "save_weights"} & vars(model).keys()))
        messages["left_behind"] += " ".join({"reduce"} & vars(self.strategy).keys())
        model = self.built()
        with multi_worker(model):
            found |= {f"frozen {name}": value for name, value in frozen_training(model).items()}
        model = self.built(run_eagerly=True)  # which traces nothing
        with multi_worker(model):
            visits = {"shuffled": EarlyLearningRegularization(SAMPLES, CLASSES)}
            found["shuffled visited"] = train(model, visits, epochs=1, shuffle=True)["shuffled visited"]
            if self.index == 1:
                model.set_weights([weight + 1 for weight in model.get_weights()])
            messages["apart"] = message_of(lambda: train(model, {}, epochs=1))
        self.write(found, **messages)
        self.killed()

    def killed(self) -> None:
        self.resumed(*[Kills(self.step)] * (self.index == 1))

    def resumed(self, *more) -> None:
        from keras_reg.distribute import multi_worker

        model = self.built()
        with multi_worker(model):
            found = straight_training(model, self.backup, *more)
        self.write({name: value for name, value in found.items() if not name.startswith("log")})


if __name__ == "__main__":
    worker = Worker(*sys.argv[1:])
    getattr(worker, worker.stage)()
