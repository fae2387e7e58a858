"""Measures a atan(x / b) and its gradient for 4 million numbers: the backend's arctangent and `scaled_arctan`.

    KERAS_BACKEND=jax python benchmarks/arctan.py

Both take turns in one process. The table shows the medians of 20 rounds.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops

from keras_reg.ops.arctan import scaled_arctan

CURVES = {
    "the backend's": lambda x: 0.7 * ops.arctan(x / 0.8),
    "scaled_arctan": lambda x: scaled_arctan(x, 0.7, 0.8),
}


def compiled(curve, xla: bool):
    """Returns a compiled function that computes the value and the gradient, and waits for the device."""
    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(lambda x: jax.value_and_grad(lambda x: ops.sum(curve(x)))(x))
        return lambda x: jax.block_until_ready(step(x))
    import tensorflow as tf

    @tf.function(jit_compile=xla)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(curve(x))
        return value, tape.gradient(value, x)

    return lambda x: step(x)[0].numpy()


def main() -> None:
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2048, 2048)).astype("float32"))
    modes = {"XLA": True} if keras.backend.backend() == "jax" else {"graph": False, "XLA": True}
    print("| backend | compiled | arctangent | ms |\n|---|---|---|---|")
    for mode, xla in modes.items():
        steps = {name: compiled(curve, xla) for name, curve in CURVES.items()}
        times: dict[str, list[float]] = {name: [] for name in steps}
        for turn in range(22):
            for name, step in steps.items():
                start = time.perf_counter()
                step(x)
                if turn > 1:
                    times[name].append(time.perf_counter() - start)
        for name, seconds in times.items():
            print(f"| {keras.backend.backend()} | {mode} | {name} | {1e3 * np.median(seconds):.1f} |")


if __name__ == "__main__":
    main()
