"""Compares pretraining with policy-gradient noise masks to pretraining without noise and with Gaussian noise.

Run:
    python benchmarks/evidence/policy_noise_mask.py --data digits
    python benchmarks/evidence/policy_noise_mask.py --data cifar10 --file cifar10_jpeg.npz

Fine-tuning follows pretraining. All arms have the same number of steps, epochs, batches and learning rates, and a new
optimizer for the second phase; only the first phase differs. Finished runs are read from `policy_noise_mask.csv` beside
this file and are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import io
import pathlib
import time
from typing import Any

import keras
import numpy as np

import keras_reg
from keras_reg.compare.models import resnet

TABLE = pathlib.Path(__file__).with_suffix(".csv")
FIELDS = ("data", "backend", "arm", "seed", "train", "test", "epochs", "accuracy", "nll", "pretrain_seconds", "log")
ARMS = ("plain", "gaussian", "mask")
# The values are: training images, epochs of the two phases, grid, blur, standard deviation of the Gaussian noise.
SETTINGS = {"digits": (898, 30, 10, 4, 1.0, 0.3), "cifar10": (10_000, 10, 5, 8, 3.0, 0.3)}


def load(name: str, file: str | None, train: int, seed: int) -> tuple[np.ndarray, ...]:
    """Returns training and test images in [-1, 1] and labels. Each seed splits the digits differently."""
    if name == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = (x.reshape(-1, 8, 8, 1) / 8 - 1).astype("float32")
        order = np.random.default_rng(seed).permutation(len(x))
        x, y = x[order], y[order].astype("int32")
        return x[:train], y[:train], x[train:], y[train:]
    arrays = np.load(file or "cifar10_jpeg.npz")
    rows = np.random.default_rng(seed).permutation(50_000)[:train]
    test = np.random.default_rng(0).permutation(10_000)[:2000]
    return (
        decode(arrays["train_bytes"], arrays["train_offsets"], rows),
        arrays["train_labels"][rows].astype("int32"),
        decode(arrays["test_bytes"], arrays["test_offsets"], test),
        arrays["test_labels"][test].astype("int32"),
    )


def decode(data: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    from PIL import Image

    images = [np.asarray(Image.open(io.BytesIO(data[offsets[i] : offsets[i + 1]].tobytes()))) for i in rows]
    return (np.stack(images) / 127.5 - 1).astype("float32")


def classifier(name: str, shape: tuple[int, ...]) -> keras.Model:
    if name == "cifar10":
        return resnet(shape, 10)
    layers = [keras.layers.Conv2D(n, 3, padding="same", activation="relu") for n in (16, 32)]
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Flatten(), keras.layers.Dense(10)])


def compiled(model: keras.Model, rate: float) -> keras.Model:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
    return model


def run(name: str, arm: str, seed: int, file: str | None) -> dict[str, Any]:
    train, first, second, grid, sigma, deviation = SETTINGS[name]
    x, y, x_test, y_test = load(name, file, train, seed)
    keras.utils.set_random_seed(seed)
    plain = classifier(name, x.shape[1:])
    noise = {
        "plain": keras.layers.Identity(),
        "gaussian": keras.layers.GaussianNoise(deviation, seed=seed),
        "mask": keras_reg.layers.PolicyNoiseMask(grid=grid, blur_sigma=sigma, seed=seed),
    }[arm]
    model = compiled(keras.Sequential([keras.Input(x.shape[1:]), noise, plain]), 0.05)
    callback = keras_reg.callbacks.PolicyGradientNoiseMask()
    start = time.perf_counter()
    history = model.fit(
        x, y, batch_size=64, epochs=first, verbose=0, callbacks=[callback] if arm == "mask" else []
    ).history
    seconds = time.perf_counter() - start
    tuned = compiled(callback.strip() if arm == "mask" else model, 0.005)
    if arm == "gaussian":
        tuned = compiled(plain, 0.005)
    tuned.fit(x, y, batch_size=64, epochs=second, verbose=0)
    nll, accuracy = tuned.evaluate(x_test, y_test, verbose=0)
    shown = ("accuracy", "mask_reward", "mask_entropy", "mask_mean")
    log = " ".join(f"{key}={history[key][0]:.3f}->{history[key][-1]:.3f}" for key in shown if key in history)
    return {
        "data": name,
        "backend": keras.backend.backend(),
        "arm": arm,
        "seed": seed,
        "train": train,
        "test": len(x_test),
        "epochs": f"{first}+{second}",
        "accuracy": round(accuracy, 4),
        "nll": round(nll, 4),
        "pretrain_seconds": round(seconds, 1),
        "log": log,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=sorted(SETTINGS), default="digits")
    parser.add_argument("--file", help="CIFAR-10 as JPEG files in an .npz")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = list(csv.DictReader(TABLE.open())) if TABLE.exists() else []
    done = {(row["data"], row["arm"], row["seed"]) for row in rows}
    for seed in range(arguments.seeds):
        for arm in ARMS:
            if (arguments.data, arm, str(seed)) in done:
                continue
            row = run(arguments.data, arm, seed, arguments.file)
            new = not TABLE.exists()
            with TABLE.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
