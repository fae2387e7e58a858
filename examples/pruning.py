"""Makes a trained network smaller, on handwritten digits: trains it with sparsity, prunes it, and fine-tunes it.

    python examples/pruning.py [sparsity_mask | polarization | group_envelope | plain] [seed]

`plain` trains without a method. The script needs the extra `[compare]`, for the data. It prints the accuracy on the
test images before and after pruning, the share of the parameters that is left, and the speed-up of a prediction.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

#: Strengths of the penalties. benchmarks/evidence/pruning.py chose them on the validation images of seed 100.
STRENGTHS = {"sparsity_mask": 0.03, "polarization": 0.003, "group_envelope": 0.01, "plain": 0.0}
WIDTHS = (32, 64, 64)


def data(seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Splits the images: 60 % for training, 20 % for validation, 20 % for testing."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    x, x_val, y, y_val = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    return {"train": (x, y), "validation": (x_val, y_val), "test": (x_test, y_test)}


def network(method: str, strength: float, widths: tuple[int, ...] = WIDTHS) -> keras.Model:
    """Builds a network of three convolutions with batch normalization, whose filters can be pruned."""
    step = None
    if method == "group_envelope":  # keeps a quarter of the filters; its strength already includes the learning rate
        step = [keras_reg.constraints.ProximalGroupEnvelope(strength, num_groups=width // 4) for width in widths]
    parts: list[Any] = [keras.Input((8, 8, 1))]
    for index, width in enumerate(widths):
        kernel_constraint = step[index] if step else None
        parts += [
            layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_constraint=kernel_constraint),
            layers.BatchNormalization(momentum=0.9, gamma_initializer=keras.initializers.Constant(0.5)),
            layers.ReLU(),
            *([layers.MaxPooling2D()] if index == 1 else []),
        ]
    return keras.Sequential([*parts, layers.GlobalAveragePooling2D(), layers.Dense(10)])


def fit(model: keras.Model, train: Any, epochs: int, rate: float, callbacks: Any = ()) -> None:
    """Trains with momentum and a learning rate that decays to 0."""
    steps = epochs * -(-len(train[0]) // 64)
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(rate, steps), momentum=0.9)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0, callbacks=list(callbacks))


def accuracy(model: keras.Model, part: Any) -> float:
    """Returns the share of images whose most probable class is the right one."""
    return float(np.mean(np.argmax(model.predict(part[0], verbose=0), axis=-1) == part[1]))


def seconds(models: list[keras.Model], repeats: int = 30) -> list[float]:
    """Returns the median time in seconds in which each model predicts 1024 images. The models take turns."""
    x = np.zeros((1024, 8, 8, 1), "float32")
    times: list[list[float]] = [[] for _ in models]
    for _ in range(repeats + 3):
        for model, mine in zip(models, times, strict=True):
            start = time.perf_counter()
            model.predict(x, batch_size=1024, verbose=0)
            mine.append(time.perf_counter() - start)
    return [float(np.median(mine[3:])) for mine in times]


def main(
    method: str = "sparsity_mask", seed: int = 0, epochs: int = 40, strength: float | None = None
) -> dict[str, Any]:
    """Trains with sparsity, prunes, fine-tunes, and returns the results of each step."""
    keras.utils.set_random_seed(seed)
    strength = STRENGTHS[method] if strength is None else strength
    parts = data(seed)
    model = network(method, strength)
    callbacks = {
        "sparsity_mask": lambda: [keras_reg.callbacks.SparsityMask(mask_epoch=epochs // 2, strength=strength)],
        "polarization": lambda: [keras_reg.callbacks.Polarization(strength)],
    }.get(method, list)()
    fit(model, parts["train"], epochs, 0.1, callbacks)
    threshold = callbacks[0].threshold() if method == "polarization" else 0.01
    trained = accuracy(model, parts["test"])
    if method == "group_envelope":
        keras_reg.surgery.cut_groups(model)
    smaller = model if method == "plain" else keras_reg.prune(model, threshold)
    result: dict[str, Any] = {"method": method, "seed": seed, "strength": strength, "trained": trained}
    result["pruned"] = accuracy(smaller, parts["test"])
    if method != "plain":
        fit(smaller, parts["train"], epochs // 2, 0.01)
    result["validation"] = accuracy(smaller, parts["validation"])
    result["fine_tuned"] = accuracy(smaller, parts["test"])
    result["filters"] = "-".join(str(layer.filters) for layer in smaller.layers if isinstance(layer, layers.Conv2D))
    result["parameters"] = smaller.count_params() / network("plain", 0.0).count_params()
    whole, small = seconds([network("plain", 0.0), smaller])
    result["speed_up"] = whole / small
    return result


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for name, value in main(*arguments[:1], **({"seed": int(arguments[1])} if arguments[1:] else {})).items():
        print(f"{name}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
