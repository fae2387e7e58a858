"""The step time of `fit` with a method, as a ratio to plain `fit` of the same model in the same process.

    KERAS_BACKEND=tensorflow python benchmarks/step_time.py            # the table of docs/benchmarks.md
    KERAS_BACKEND=jax python benchmarks/step_time.py --steps 400 --methods self_distillation
    KERAS_BACKEND=jax python benchmarks/step_time.py --methods weight_compander,beta_noise --models resnet,wide
    KERAS_BACKEND=jax python benchmarks/step_time.py --methods all --models mlp,transformer --small

Plain and method take turns, round by round; a round is one `fit`, of whose last epoch the first steps, which may
compile, are not counted. A ratio is formed in each round; the table shows the median of the rounds, and their range.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from methods import METHODS, PLAIN, Method

import keras_reg

WARM_UP = 40


class Clock(keras.callbacks.Callback):
    """Seconds per step, from the end of the warm-up to the last step; waits for the device at both ends only."""

    def __init__(self, steps: int, warm_up: int = WARM_UP) -> None:
        super().__init__()
        self.steps, self.warm_up = steps, warm_up

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in (self.warm_up - 1, self.steps - 1):
            float(logs["loss"])
            now = time.perf_counter()
            if batch == self.warm_up - 1:
                self.start = now
            else:
                self.seconds_per_step = (now - self.start) / (self.steps - self.warm_up)


def head(features, num_classes: int, between):
    """The end of a model: a layer of a method, if there is one, and the logits."""
    features = features if between is None else between()(features)
    return keras.layers.Dense(num_classes)(features)


def mlp(num_classes: int, between=None) -> keras.Model:
    inputs = x = keras.Input((64,), name="image")
    for _ in range(2):
        x = keras.layers.Dense(256, "relu")(x)
    return keras.Model(inputs, head(x, num_classes, between))


def cnn(num_classes: int, between=None) -> keras.Model:
    """A small residual network on 32 x 32 colour images."""
    inputs = x = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    for filters in (16, 32, 64):
        strides = 1 if filters == 16 else 2
        shortcut = keras.layers.Conv2D(filters, 1, strides=strides)(x)
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", activation="relu")(x)
        x = keras.layers.Conv2D(filters, 3, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    return keras.Model(inputs, head(keras.layers.GlobalAveragePooling2D()(x), num_classes, between))


def wide(num_classes: int, between=None) -> keras.Model:
    """Three dense layers with 6.3 million weights, for batches of 128."""
    inputs = x = keras.Input((1024,), name="features")
    for _ in range(2):
        x = keras.layers.Dense(2048, "relu")(x)
    return keras.Model(inputs, head(x, num_classes, between))


def transformer(num_classes: int, between=None) -> keras.Model:
    """Two blocks of width 64 with four heads, on sequences of 32 vectors."""
    inputs = x = keras.Input((32, 64), name="tokens")
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(4, 16)(x, x)
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
        hidden = keras.layers.Dense(64)(keras.layers.Dense(256, "relu")(x))
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, hidden]))
    return keras.Model(inputs, head(keras.layers.GlobalAveragePooling1D()(x), num_classes, between))


MODELS = {"mlp": mlp, "resnet": cnn, "wide": wide, "transformer": transformer}


def seconds_per_step(
    build, mode: dict, method: Method, num_samples: int, num_classes: int, steps: int, epochs: int
) -> float:
    """One round, of a fresh model."""
    keras.utils.set_random_seed(0)
    model = build(num_classes, method.between)
    if method.wrapper is not None:
        layer, arguments = method.wrapper
        model = keras_reg.reparameterize(model, layer, **arguments)
    if method.regularizer is not None:
        keras_reg.apply_regularizer(model, method.regularizer())
    model.compile(method.optimizer(), method.loss(), **mode)
    rng = np.random.default_rng(0)
    batch = 128 if build is wide else 64
    rows = steps * batch
    shape = model.input_shape[1:]
    x = np.resize(rng.normal(size=(min(rows, 2048), *shape)).astype("float32"), (rows, *shape))
    y = rng.integers(0, num_classes, rows).astype("int32")
    clock = Clock(steps)
    callbacks: list[keras.callbacks.Callback] = [clock]
    data = keras_reg.data.with_sample_ids(model, x)
    data["sample_id"] = rng.integers(0, num_samples, rows).astype("int32")
    if method.callback is not None:
        callbacks.append(method.callback(num_samples, num_classes))
    if method is METHODS["self_tuning"]:
        # Copies: data that are also trained on are warned of.
        callbacks.append(keras_reg.callbacks.SelfTuning((x[:512].copy(), y[:512].copy()), warmup_steps=0))
    model.fit(data, y, batch_size=batch, epochs=epochs, verbose=0, callbacks=callbacks, shuffle=False)
    keras.backend.clear_session()
    return clock.seconds_per_step


def modes() -> dict[str, dict]:
    """How the step can be compiled on this backend."""
    backend = keras.backend.backend()
    found = {"eager": {"run_eagerly": True}}
    if backend == "tensorflow":
        found |= {"graph": {"jit_compile": False}, "XLA": {"jit_compile": True}}
    elif backend == "jax":
        found = {"XLA": {"jit_compile": True}}
    return found


def row(name: str, model: str, mode: str, size: tuple[int, int], given: argparse.Namespace) -> str:
    method, (num_samples, num_classes) = METHODS[name], size
    steps = given.steps if model == "mlp" else max(WARM_UP + 40, given.steps // 4)
    times = [
        [
            seconds_per_step(MODELS[model], modes()[mode], on, num_samples, num_classes, steps, method.epochs)
            for on in (PLAIN, method)
        ]
        for _ in range(given.rounds)
    ]
    plain, with_method = np.transpose(times)
    ratios = with_method / plain
    memory = method.table * (num_samples + 1) * (4 * num_classes + 1) / 2**20
    return (
        f"| {name} | {keras.backend.backend()} | {mode} | {model} | {num_samples:,} x {num_classes:,} "
        f"| {memory:.1f} | {1e3 * np.median(plain):.2f} | {np.median(ratios):.3f} "
        f"| {ratios.min():.3f} to {ratios.max():.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=440, help="steps of a round, the first 40 are not counted")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="mlp,resnet", help=", ".join(MODELS))
    parser.add_argument("--methods", default="early_learning", help=f"all, or some of {', '.join(METHODS)}")
    parser.add_argument("--modes", default="", help="eager, graph, XLA (default: those that compile, else eager)")
    parser.add_argument("--small", action="store_true", help="one size of the table only")
    given = parser.parse_args()
    chosen = [name for name in modes() if name in given.modes.split(",")]
    chosen = chosen or [name for name in modes() if name != "eager" or len(modes()) == 1]
    print(
        "| method | backend | compiled | model | samples x classes | memory (MiB) | plain (ms/step) | ratio | range |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in METHODS if given.methods == "all" else given.methods.split(","):
        for model in given.models.split(","):
            sizes = [(50_000, 10)]
            if model == "mlp" and not given.small and METHODS[name].table:
                sizes += [(1_300, 10), (50_000, 100), (1_000_000, 100), (50_000, 1000)]
            for mode in chosen:
                for size in sizes:
                    print(row(name, model, mode, size, given), flush=True)


if __name__ == "__main__":
    main()
