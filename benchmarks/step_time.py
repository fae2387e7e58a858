"""The step time of `fit` with a method, as a ratio to plain `fit` of the same model in the same process.

    KERAS_BACKEND=tensorflow python benchmarks/step_time.py            # the table of docs/benchmarks.md
    KERAS_BACKEND=jax python benchmarks/step_time.py --steps 400 --method self_distillation
    KERAS_BACKEND=jax python benchmarks/step_time.py --method weight_compander --models resnet,wide

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

import keras_reg

WARM_UP = 40


class Clock(keras.callbacks.Callback):
    """Seconds per step, from the end of the warm-up to the last step; waits for the device at both ends only."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in (WARM_UP - 1, self.steps - 1):
            float(logs["loss"])
            now = time.perf_counter()
            if batch == WARM_UP - 1:
                self.start = now
            else:
                self.seconds_per_step = (now - self.start) / (self.steps - WARM_UP)


def mlp(num_classes: int) -> keras.Model:
    layers = [keras.Input((64,), name="image"), *(keras.layers.Dense(256, "relu") for _ in range(2))]
    return keras.Sequential([*layers, keras.layers.Dense(num_classes)])


def cnn(num_classes: int) -> keras.Model:
    """A small residual network on 32 x 32 colour images."""
    inputs = x = keras.Input((32, 32, 3), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    for filters in (16, 32, 64):
        strides = 1 if filters == 16 else 2
        shortcut = keras.layers.Conv2D(filters, 1, strides=strides)(x)
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", activation="relu")(x)
        x = keras.layers.Conv2D(filters, 3, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


def wide(num_classes: int) -> keras.Model:
    """Three dense layers with 6.3 million weights, for batches of 128."""
    layers = [keras.Input((1024,), name="features"), *(keras.layers.Dense(2048, "relu") for _ in range(2))]
    return keras.Sequential([*layers, keras.layers.Dense(num_classes)])


MODELS = {"mlp": mlp, "resnet": cnn, "wide": wide}

CALLBACKS = {
    "early_learning": keras_reg.callbacks.EarlyLearningRegularization,
    "self_distillation": keras_reg.callbacks.ProgressiveSelfDistillation,
    "self_distillation_model": lambda num_samples, num_classes: keras_reg.callbacks.ProgressiveSelfDistillation(
        source="model"
    ),
}
# Overflow does not matter for the time that a step takes.
LAYERS = {
    "weight_compander": (keras_reg.layers.WeightCompander, {"overflow": "clip"}),
    "weight_compander_learnable": (keras_reg.layers.WeightCompander, {"learnable": True, "overflow": "clip"}),
    "weight_normalization": (keras_reg.layers.WeightNormalization, {"keep_weights": False}),
    "sigma_reparam": (keras_reg.layers.SigmaReparam, {}),
}


def seconds_per_step(
    build, mode: dict, method: str | None, num_samples: int, num_classes: int, steps: int, epochs: int
) -> float:
    """One round, of a fresh model."""
    keras.utils.set_random_seed(0)
    model = build(num_classes)
    if method in LAYERS:
        layer, arguments = LAYERS[method]
        model = keras_reg.reparameterize(model, layer, **arguments)
    if method == "self_tuning":
        decay = keras_reg.tune.Float("l2", init=1e-4, low=0.0, log=True)
        keras_reg.apply_regularizer(model, keras_reg.regularizers.TunableL2(decay))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, **mode)
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
    if method in CALLBACKS:
        callbacks.append(CALLBACKS[method](num_samples, num_classes))
    if method == "self_tuning":
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=440, help="steps of a round, the first 40 are not counted")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default="mlp,resnet")
    parser.add_argument("--method", choices=[*CALLBACKS, *LAYERS, "self_tuning"], default="early_learning")
    parser.add_argument("--modes", default="", help="eager, graph, XLA (default: those that compile, else eager)")
    parser.add_argument("--small", action="store_true", help="one size of the table only")
    arguments = parser.parse_args()
    epochs = 2 if arguments.method.startswith("self_distillation") else 1  # that begins with the second epoch
    chosen = {name: mode for name, mode in modes().items() if name in arguments.modes.split(",")}
    chosen = chosen or {name: mode for name, mode in modes().items() if name != "eager" or len(modes()) == 1}
    print("| backend | compiled | model | samples x classes | memory (MiB) | plain (ms/step) | ratio | range |")
    print("|---|---|---|---|---|---|---|---|")
    for name in arguments.models.split(","):
        sizes = [(50_000, 10)]
        if name == "mlp" and not arguments.small and arguments.method in CALLBACKS:
            sizes += [(1_300, 10), (50_000, 100), (1_000_000, 100), (50_000, 1000)]
        for mode_name, mode in chosen.items():
            for num_samples, num_classes in sizes:
                steps = arguments.steps if name == "mlp" else max(WARM_UP + 40, arguments.steps // 4)
                times = [
                    [
                        seconds_per_step(MODELS[name], mode, on, num_samples, num_classes, steps, epochs)
                        for on in (None, arguments.method)
                    ]
                    for _ in range(arguments.rounds)
                ]
                plain, method = np.transpose(times)
                ratios = method / plain
                table = arguments.method in CALLBACKS and not arguments.method.endswith("_model")
                memory = table * (num_samples + 1) * (4 * num_classes + 1) / 2**20
                print(
                    f"| {keras.backend.backend()} | {mode_name} | {name} | {num_samples:,} x {num_classes:,} "
                    f"| {memory:.1f} | {1e3 * np.median(plain):.2f} | {np.median(ratios):.3f} "
                    f"| {ratios.min():.3f} to {ratios.max():.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
