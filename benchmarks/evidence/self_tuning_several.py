"""Compares self-tuning of seven or eight hyperparameters with random and Bayesian search of the same cost.

    pip install optuna
    KERAS_BACKEND=jax python benchmarks/evidence/self_tuning_several.py --data digits
    KERAS_BACKEND=jax python benchmarks/evidence/self_tuning_several.py --data cifar10 --file cifar10_jpeg.npz
    KERAS_BACKEND=jax python benchmarks/evidence/self_tuning_several.py --table

- Digits: 250 images to train, 500 to tune, 1047 to test, divided differently for each seed. The network is
  64-128-128-10.
- CIFAR-10: 10,000 training images, of which 8000 are for training and 2000 for tuning, and 2000 other images to test.
  The network has three convolutions and a linear layer.

Each network has noise on its inputs, dropout in front of each layer but the first convolution, and an L2 strength for
each kernel.

Self-tuning starts from three points; `constant` trains at these points and tunes nothing. The searches train one
network after another. The cost of a training run is its number of epochs times the median CPU time of all epochs but
the first. It therefore excludes compilation and other programs on the machine. A search with budget k runs as many
trials as fit into k times the mean cost of a self-tuned run with that seed, and at least one. It returns the network
with the best tuning loss.

Rows are added to `self_tuning_several.csv` beside this file; rows in this file are not computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import time
from typing import Any

import keras
import numpy as np
from policy_noise_mask import load
from rows import known, write
from self_tuning import data as digits

import keras_reg

FILE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = (
    *("data", "method", "start", "seed", "backend", "budget", "trials"),
    *("tuning_nll", "test_nll", "test_accuracy", "processor_seconds", "values"),
)
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
#: The start values of all layers: dropout rate, L2 strength, standard deviation of the noise.
STARTS = {"good": (0.2, 3e-4, 0.1), "weak": (0.02, 1e-6, 0.01), "strong": (0.7, 1e-2, 0.5)}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Holds the settings of a dataset: training, network, start points, budgets of the searches, and seeds."""

    epochs: int
    batch_size: int
    layers: int
    dropouts: int
    starts: tuple[str, ...]
    budgets: tuple[int, ...]
    seeds: int


SETTINGS = {
    "digits": Setting(200, 50, 3, 3, ("good", "weak", "strong"), (1, 2, 4), 5),
    "cifar10": Setting(12, 100, 4, 3, ("good", "strong"), (1,), 3),
}
Values = dict[str, float]


@functools.cache
def divided(name: str, seed: int, file: str | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns images and labels for training, for tuning and for testing."""
    if name == "digits":
        return digits(seed)
    x, y, x_test, y_test = load(name, file, 10_000, seed)
    return [(x[:8000], y[:8000]), (x[8000:], y[8000:]), (x_test, y_test)]


def point(name: str, dropout: float, l2: float, noise: float) -> Values:
    """Returns a value for each hyperparameter, with the same values for all layers."""
    setting = SETTINGS[name]
    dropouts = {f"dropout_{index}": dropout for index in range(setting.dropouts)}
    return {"noise": noise, **dropouts, **{f"l2_{index}": l2 for index in range(setting.layers)}}


def network(name: str, shape: tuple[int, ...], values: Values) -> keras.Model:
    handles = {
        key: keras_reg.tune.Float(
            key, init=value, low=0.0, high=0.9 if key.startswith("dropout") else None, log="l2" in key
        )
        for key, value in values.items()
    }
    dropouts = [keras_reg.layers.TunableDropout(handle) for key, handle in handles.items() if "dropout" in key]
    l2 = [keras_reg.regularizers.TunableL2(handle) for key, handle in handles.items() if "l2" in key]
    layers: list[Any] = [keras.Input(shape), keras_reg.layers.TunableGaussianNoise(handles["noise"])]
    if name == "digits":
        for units, dropout, penalty in zip((128, 128, 10), dropouts, l2, strict=True):
            layers += [dropout, keras.layers.Dense(units, None if units == 10 else "relu", kernel_regularizer=penalty)]
        return keras.Sequential(layers)
    for index, (filters, penalty) in enumerate(zip((32, 64, 64), l2[:-1], strict=True)):
        convolution = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=penalty)
        layers += [*([dropouts[index - 1]] if index else []), convolution, keras.layers.MaxPooling2D()]
    return keras.Sequential(
        [*layers, keras.layers.Flatten(), dropouts[-1], keras.layers.Dense(10, kernel_regularizer=l2[-1])]
    )


class Cost(keras.callbacks.Callback):
    """Measures the CPU time of a training run from the median of all epochs but the first."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ends.append(time.process_time())

    def seconds(self) -> float:
        return float(np.median(np.diff(self.ends)) * len(self.ends))


def train(name: str, seed: int, file: str | None, values: Values, callbacks: Any = ()) -> dict[str, Any]:
    """Trains a network, and returns its losses without penalties, its accuracy and its cost."""
    setting, parts = SETTINGS[name], divided(name, seed, file)
    keras.utils.set_random_seed(seed)
    model = network(name, parts[0][0].shape[1:], values)
    model.compile(keras.optimizers.Adam(3e-3 if name == "digits" else 1e-3), LOGITS)
    cost = Cost()
    model.fit(*parts[0], batch_size=setting.batch_size, epochs=setting.epochs, verbose=0, callbacks=[cost, *callbacks])
    (_, y_tuning), (_, y_test) = parts[1:]
    tuning, test = (model.predict(x, verbose=0, batch_size=500) for x, _ in parts[1:])
    return {
        "tuning_nll": float(LOGITS(y_tuning, tuning)),
        "test_nll": float(LOGITS(y_test, test)),
        "test_accuracy": float(np.mean(test.argmax(-1) == y_test)),
        "processor_seconds": cost.seconds(),
    }


def shown(values: Values) -> str:
    return " ".join(f"{key}={value:.3g}" for key, value in values.items())


def self_tuned(name: str, seed: int, file: str | None, start: Values) -> dict[str, Any]:
    tuning = keras_reg.callbacks.SelfTuning(divided(name, seed, file)[1], learning_rate=0.03, batch_size=250, seed=seed)
    row = train(name, seed, file, start, [tuning])
    return {**row, "trials": 1, "values": shown(tuning.values)}


def search(method: str, name: str, seed: int, file: str | None, cost: float) -> list[dict[str, Any]]:
    """Runs a search, and returns a row for each budget."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers = optuna.samplers
    sampler = (
        samplers.RandomSampler(seed=seed)
        if method == "random"
        else samplers.TPESampler(seed=seed, n_startup_trials=4, multivariate=True)
    )
    study = optuna.create_study(sampler=sampler)
    rows: list[dict[str, Any]] = []
    spent, best, count = 0.0, {}, 0
    for budget in SETTINGS[name].budgets:
        while True:
            mean = spent / max(count, 1)
            if count and spent + mean > budget * cost:
                break
            trial = study.ask()
            values = {
                key: trial.suggest_float(key, 1e-6, 3e-2, log=True)
                if key.startswith("l2")
                else trial.suggest_float(key, 0.0, 0.8)
                for key in point(name, 0.0, 0.0, 0.0)
            }
            row = train(name, seed, file, values)
            study.tell(trial, row["tuning_nll"])
            spent, count = spent + row["processor_seconds"], count + 1
            if not best or row["tuning_nll"] < best["tuning_nll"]:
                best = {**row, "values": shown(values)}
        rows.append({**best, "budget": budget, "trials": count, "processor_seconds": spent})
    return rows


def table() -> None:
    rows = known(FILE)
    for key in dict.fromkeys((row["data"], row["method"], row["start"], row["budget"]) for row in rows):
        own = [row for row in rows if (row["data"], row["method"], row["start"], row["budget"]) == key]
        scores = ("tuning_nll", "test_nll", "test_accuracy", "processor_seconds", "trials")
        means = [np.array([float(row[score]) for row in own]) for score in scores]
        cells = [f"{value.mean():.3f} ± {value.std(ddof=1) if len(own) > 1 else 0:.3f}" for value in means]
        print("|", " ".join(key), "|", " | ".join(cells), "|", len(own), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=sorted(SETTINGS), default="digits")
    parser.add_argument("--file", help="CIFAR-10 as JPEG files in an .npz")
    parser.add_argument("--table", action="store_true", help="only print the means of the rows in the file")
    arguments = parser.parse_args()
    if arguments.table:
        table()
        return
    name, file = arguments.data, arguments.file
    setting = SETTINGS[name]
    done = {(row["data"], row["method"], row["start"], row["seed"]) for row in known(FILE)}

    def add(method: str, start: str, seed: int, row: dict[str, Any]) -> None:
        first = {"data": name, "method": method, "start": start, "seed": seed}
        write(FILE, FIELDS, {**first, "backend": keras.backend.backend(), "budget": 1, "trials": 1, **row})

    for seed in range(setting.seeds):
        for start in setting.starts:
            values = point(name, *STARTS[start])
            if (name, "self_tuning", start, str(seed)) not in done:
                add("self_tuning", start, seed, self_tuned(name, seed, file, values))
            if (name, "constant", start, str(seed)) not in done:
                add("constant", start, seed, {**train(name, seed, file, values), "values": shown(values)})
        rows = [row for row in known(FILE) if (row["data"], row["method"]) == (name, "self_tuning")]
        cost = float(np.mean([float(row["processor_seconds"]) for row in rows if row["seed"] == str(seed)]))
        for method in ("random", "bayesian"):
            if (name, method, "", str(seed)) not in done:
                for row in search(method, name, seed, file, cost):
                    add(method, "", seed, row)
    table()


if __name__ == "__main__":
    main()
