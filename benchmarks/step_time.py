"""Measures the step time of `fit` or `predict` with a method, relative to that of the model without the method.

    KERAS_BACKEND=tensorflow python benchmarks/step_time.py            # the table of docs/benchmarks.md
    KERAS_BACKEND=jax python benchmarks/step_time.py --steps 400 --methods self_distillation
    KERAS_BACKEND=jax python benchmarks/step_time.py --methods weight_compander,beta_noise --models resnet,wide
    KERAS_BACKEND=jax python benchmarks/step_time.py --methods all --models mlp,transformer --small
    KERAS_BACKEND=jax python benchmarks/step_time.py --methods beta_noise,dropout --models resnet --predict

The plain model and the methods take turns in one process, round by round. A round is one `fit`. The first steps of its
last epoch are not measured, because they may compile. A ratio is formed in each round; the table shows the median of
the rounds, and their range. With JAX, compiled programs are kept from round to round. Methods for images, tokens or
batch normalization are left out on other models.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import tempfile
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from methods import METHODS, PLAIN, Method

import keras_reg

WARM_UP = 40


class Clock(keras.callbacks.Callback):
    """Measures seconds and page faults per step after the warm-up, and waits for the device at both ends."""

    def __init__(self, steps: int, warm_up: int = WARM_UP) -> None:
        super().__init__()
        self.steps, self.warm_up = steps, warm_up

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in (self.warm_up - 1, self.steps - 1):
            float(logs["loss"])
            self.tell(batch)

    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in (self.warm_up - 1, self.steps - 1):
            np.asarray(keras.ops.convert_to_numpy(logs["outputs"]))
            self.tell(batch)

    def tell(self, batch: int) -> None:
        now = np.array([time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt])
        if batch == self.warm_up - 1:
            self.start = now
        else:
            self.per_step = (now - self.start) / (self.steps - self.warm_up)


def head(features: Any, inputs: Any, num_classes: int, method: Method) -> keras.Model:
    """Ends a model with the method's layer, if there is one, and the logits."""
    return keras.Model(inputs, method.dense(num_classes)(method.between(features, inputs)))


def mlp(num_classes: int, method: Method = PLAIN) -> keras.Model:
    inputs = keras.Input((64,), name="image")
    x = method.front(inputs)
    for _ in range(2):
        x = method.dense(256, "relu")(x)
    return head(x, inputs, num_classes, method)


def cnn(num_classes: int, method: Method = PLAIN, normalized: bool = False) -> keras.Model:
    """Builds a small residual network on 32 x 32 color images."""

    def convolution(filters: int, size: int, x: Any, **arguments: Any) -> Any:
        x = keras.layers.Conv2D(filters, size, padding="same", use_bias=not normalized, **arguments)(x)
        return keras.layers.BatchNormalization()(x) if normalized else x

    inputs = keras.Input((32, 32, 3), name="image")
    x = keras.layers.ReLU()(convolution(16, 3, method.front(inputs)))
    for filters in (16, 32, 64):
        strides = 1 if filters == 16 else 2
        shortcut = convolution(filters, 1, x, strides=strides)
        x = keras.layers.ReLU()(convolution(filters, 3, x, strides=strides))
        x = keras.layers.ReLU()(keras.layers.Add()([convolution(filters, 3, x), shortcut]))
    return head(keras.layers.GlobalAveragePooling2D()(x), inputs, num_classes, method)


def normalized(num_classes: int, method: Method = PLAIN) -> keras.Model:
    """Builds the residual network with batch normalization."""
    return cnn(num_classes, method, normalized=True)


def wide(num_classes: int, method: Method = PLAIN) -> keras.Model:
    """Builds three dense layers with 6.3 million weights, for batches of 128."""
    inputs = keras.Input((1024,), name="features")
    x = method.front(inputs)
    for _ in range(2):
        x = method.dense(2048, "relu")(x)
    return head(x, inputs, num_classes, method)


def transformer(num_classes: int, method: Method = PLAIN) -> keras.Model:
    """Builds two blocks of width 64 with four heads, on sequences of 32 vectors."""
    inputs = keras.Input((32, 64), name="tokens")
    x = method.front(inputs)
    for _ in range(2):
        attended = keras.layers.MultiHeadAttention(4, 16)
        if method.attention is None:
            attended = attended(x, x)
        else:
            attended = method.attention(*attended(x, x, return_attention_scores=True))
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, attended]))
        hidden = keras.layers.Dense(64)(keras.layers.Dense(256, "relu")(x))
        x = keras.layers.LayerNormalization()(keras.layers.Add()([x, hidden]))
    return head(keras.layers.GlobalAveragePooling1D()(method.last(x)), inputs, num_classes, method)


MODELS = {"mlp": mlp, "resnet": cnn, "normalized": normalized, "wide": wide, "transformer": transformer}


def per_step(
    name: str, mode: dict, method: Method, num_samples: int, num_classes: int, steps: int, predict: bool
) -> np.ndarray:
    """Returns the seconds and page faults per step of one round with a new model."""
    keras.utils.set_random_seed(0)
    model = method.change(MODELS[name](num_classes, method))
    model.compile(method.optimizer(), method.loss(), metrics=method.metrics(), **mode)
    rng = np.random.default_rng(0)
    batch = 128 if name == "wide" else 64
    rows = steps * batch
    shape = model.input_shape[1:]
    x = np.resize(rng.normal(size=(min(rows, 2048), *shape)).astype("float32"), (rows, *shape))
    y = rng.integers(0, num_classes, rows).astype("int32")
    clock = Clock(steps, min(WARM_UP, steps // 4))
    if predict:
        model.predict(x, batch_size=batch, verbose=0, callbacks=[clock])
        keras.backend.clear_session()
        return clock.per_step
    callbacks: list[keras.callbacks.Callback] = [clock]
    data = keras_reg.data.with_sample_ids(model, x)
    data["sample_id"] = rng.integers(0, num_samples, rows).astype("int32")
    if method.callback is not None:
        callbacks.append(method.callback(num_samples, num_classes))
    if method.tuning is not None:
        # `SelfTuning` warns if its data shares memory with the training data, so the arrays are copied.
        tuning = (x[:512].copy(), y[:512].copy())
        callbacks.append(keras_reg.callbacks.SelfTuning(tuning, kind=method.tuning, warmup_steps=0))
    model.fit(data, y, batch_size=batch, epochs=method.epochs, verbose=0, callbacks=callbacks, shuffle=False)
    keras.backend.clear_session()
    return clock.per_step


def modes() -> dict[str, dict]:
    """Returns the ways to compile the step on this backend, by name."""
    backend = keras.backend.backend()
    found = {"eager": {"run_eagerly": True}}
    if backend == "tensorflow":
        found |= {"graph": {"jit_compile": False}, "XLA": {"jit_compile": True}}
    elif backend == "jax":
        found = {"XLA": {"jit_compile": True}}
    return found


def rows(names: list[str], model: str, mode: str, size: tuple[int, int], given: argparse.Namespace) -> list[str]:
    """Returns a row for each method. The methods share the rounds of the plain model."""
    num_samples, num_classes = size
    # A step of a large model takes tens of milliseconds, so fewer steps are enough for a stable mean.
    steps = given.steps if model == "mlp" else max(40, given.steps // 4)
    times = [
        [
            per_step(model, modes()[mode], method, num_samples, num_classes, steps, given.predict)
            for method in (PLAIN, *(METHODS[name] for name in names))
        ]
        for _ in range(given.rounds)
    ]
    (plain, *with_methods), (plain_faults, *faults) = np.transpose(times)
    found = []
    for name, with_method, its_faults in zip(names, with_methods, faults, strict=True):
        ratios = with_method / plain
        memory = METHODS[name].table * (num_samples + 1) * (4 * num_classes + 1) / 2**20
        found.append(
            f"| {name} | {keras.backend.backend()} | {mode} | {model} | {num_samples:,} x {num_classes:,} "
            f"| {memory:.1f} | {1e3 * np.median(plain):.2f} | {np.median(ratios):.3f} "
            f"| {ratios.min():.3f} to {ratios.max():.3f} |"
            + f" {np.median(plain_faults):,.0f} | {np.median(its_faults):,.0f} |"
            * given.page_faults
        )
    return found


def main() -> None:
    if keras.backend.backend() == "jax":
        import jax

        compiled = tempfile.TemporaryDirectory()
        jax.config.update("jax_compilation_cache_dir", compiled.name)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--steps",
        type=int,
        default=440,
        help="steps per round, a quarter of them on large models; the first quarter, or 40, is not measured",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="mlp,resnet", help=", ".join(MODELS))
    parser.add_argument("--methods", default="early_learning", help=f"all, or names out of {', '.join(METHODS)}")
    parser.add_argument("--modes", default="", help="eager, graph, XLA (default: all compiled modes, or eager)")
    parser.add_argument("--small", action="store_true", help="measure one size of the table only")
    parser.add_argument("--together", type=int, default=1, help="methods that share a round of the plain model")
    parser.add_argument("--predict", action="store_true", help="measure the step of `predict` instead of `fit`")
    parser.add_argument("--page-faults", action="store_true", help="show page faults per step, plain and with method")
    given = parser.parse_args()
    names = list(METHODS) if given.methods == "all" else given.methods.split(",")
    chosen = [name for name in modes() if name in given.modes.split(",")]
    chosen = chosen or [name for name in modes() if name != "eager" or len(modes()) == 1]
    columns = [
        "method",
        "backend",
        "compiled",
        "model",
        "samples x classes",
        "memory (MiB)",
        "plain (ms/step)",
        "ratio",
    ]
    columns += ["range"] + ["page faults, plain", "page faults"] * given.page_faults
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for model, mode in itertools.product(given.models.split(","), chosen):
        here = [name for name in names if model in METHODS[name].models]
        for first in range(0, len(here), given.together):
            group = here[first : first + given.together]
            sizes = [(50_000, 10)]
            if model == "mlp" and not given.small and all(METHODS[name].table for name in group):
                sizes += [(1_300, 10), (50_000, 100), (1_000_000, 100), (50_000, 1000)]
            for size in sizes:
                print(*rows(group, model, mode, size, given), sep="\n", flush=True)


if __name__ == "__main__":
    main()
