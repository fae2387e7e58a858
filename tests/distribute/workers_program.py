"""The program of two workers: `python -m tests.distribute.workers_program STAGE FOLDER [STEP]`, with `TF_CONFIG`.

The stage `straight` runs everything once, and ends with a training run that kills worker 1 at a step. The stage
`resumed` starts that run again. Each worker writes its results to `FOLDER/STAGE-INDEX.npz`, and messages to a `.json`.
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


def make_problem() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    return x, rng.integers(0, CLASSES, SAMPLES).astype("int32")


def build_model(compiled: bool = True, **arguments) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [keras.Input((FEATURES,), name="features"), keras.layers.Dense(6, "tanh"), keras.layers.Dense(CLASSES)]
    model = keras.Sequential(layers)
    if compiled:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"], **arguments)
    return model


def methods() -> dict[str, keras.callbacks.Callback]:
    """Returns both per-sample methods for one training run."""
    return {
        "targets": EarlyLearningRegularization(SAMPLES, CLASSES, momentum=0.5),
        "past": ProgressiveSelfDistillation(SAMPLES, CLASSES, epochs=EPOCHS),
    }


def train(model: keras.Model, callbacks: dict, more: tuple = (), **arguments) -> dict[str, np.ndarray]:
    """Trains a model, and returns weights, memories and logs."""
    x, y = make_problem()
    arguments = {"batch_size": BATCH, "shuffle": False, "epochs": EPOCHS, "verbose": 0, **arguments}
    logs = model.fit(with_sample_ids(model, x), y, callbacks=[*callbacks.values(), *more], **arguments).history
    results = {f"weight {index}": weight for index, weight in enumerate(model.get_weights())}
    for name, callback in callbacks.items():
        if callback.num_samples is not None:
            results |= {name: callback.memory.numpy(), f"{name} visited": callback.memory.numpy_visited()}
    return {**results, **{f"log {name}": np.array(values) for name, values in logs.items()}}


def straight_training(model: keras.Model, *more) -> dict[str, np.ndarray]:
    x, y = make_problem()
    return train(model, methods(), more, validation_data=(x, y), validation_batch_size=BATCH)


def frozen_training(model: keras.Model) -> dict[str, np.ndarray]:
    return train(model, {"frozen": ProgressiveSelfDistillation(source="model", epochs=2)}, epochs=2)


class KillAtStep(keras.callbacks.Callback):
    """Kills the process at a step, like a machine failure."""

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


def catch_message(function) -> str:
    try:
        function()
    except Exception as error:  # The test checks the message.
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


class Worker:
    def __init__(self, stage: str, folder: str, step: str = "0") -> None:
        import tensorflow as tf

        self.index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.folder, self.stage, self.step = pathlib.Path(folder), stage, int(step)
        self.backup = keras.callbacks.BackupAndRestore(self.folder / "backup")

    def build_model(self, **arguments) -> keras.Model:
        with self.strategy.scope():
            return build_model(**arguments)

    def write(self, results: dict, **messages: str) -> None:
        np.savez(self.folder / f"{self.stage}-{self.index}.npz", **results)
        (self.folder / f"{self.stage}-{self.index}.json").write_text(json.dumps(messages))

    def straight(self) -> None:
        from keras_reg.distribute import multi_worker

        (x, y), model = make_problem(), self.build_model()
        outside = keras.layers.Dense(3)
        outside.build((None, FEATURES))
        with self.strategy.scope():
            mixed = keras.Sequential([keras.Input((FEATURES,)), outside])
            mixed.compile("sgd", "mse")
        messages = {
            "batches": catch_message(lambda: model.fit(x, y, batch_size=BATCH, verbose=0)),
            "scalars": catch_message(lambda: model.train_on_batch(x, y)),
            "not_compiled": catch_message(lambda: multi_worker(self.build_model(compiled=False)).__enter__()),
            "outside": catch_message(lambda: multi_worker(mixed).__enter__()),
        }
        model, batches = self.build_model(), BatchLogs()
        with multi_worker(model):
            path = self.folder / "checkpoint.keras" if self.index == 0 else self.folder / "of_another_worker.keras"
            results = straight_training(model, keras.callbacks.ModelCheckpoint(path), batches)
            results["batch losses"] = np.array(batches.losses)
            results["predictions"] = model.predict(x, batch_size=BATCH, verbose=0)
            results["evaluation"] = np.array(model.evaluate(x, y, batch_size=BATCH, verbose=0))
            model.save_weights(self.folder / f"{self.index}.weights.h5")
        messages["left_behind"] = " ".join(sorted({"fit", "save", "save_weights"} & vars(model).keys()))
        messages["left_behind"] += " ".join({"reduce"} & vars(self.strategy).keys())
        model = self.build_model()
        with multi_worker(model):
            results |= {f"frozen {name}": value for name, value in frozen_training(model).items()}
        model = self.build_model(run_eagerly=True)  # Eager execution traces nothing.
        with multi_worker(model):
            visits = {"shuffled": EarlyLearningRegularization(SAMPLES, CLASSES)}
            results["shuffled visited"] = train(model, visits, epochs=1, shuffle=True)["shuffled visited"]
            if self.index == 1:
                model.set_weights([weight + 1 for weight in model.get_weights()])
            messages["apart"] = catch_message(lambda: train(model, {}, epochs=1))
        self.write(results, **messages)
        self.killed()

    def killed(self) -> None:
        self.resumed(*[KillAtStep(self.step)] * (self.index == 1))

    def resumed(self, *more) -> None:
        from keras_reg.distribute import multi_worker

        model = self.build_model()
        with multi_worker(model):
            results = straight_training(model, self.backup, *more)
        self.write({name: value for name, value in results.items() if not name.startswith("log")})


if __name__ == "__main__":
    worker = Worker(*sys.argv[1:])
    getattr(worker, worker.stage)()
