"""Measures the time of drawing Beta variates with `keras_reg.random.beta` and with `keras.random.beta`.

    KERAS_BACKEND=tensorflow python benchmarks/beta_sampler.py

Both are called in turns. The table shows the medians of the rounds in milliseconds, or `fails` where Keras's sampler
cannot be compiled.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reg import random

BACKEND = keras.backend.backend()
SHAPE = (32, 64 * 64)


def modes() -> dict[str, Callable[[Any], Any]]:
    """Returns the ways to compile a function on this backend, by name."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return {
            "eager": lambda function: function,
            "graph": tf.function,
            "XLA": lambda function: tf.function(function, jit_compile=True),
        }
    if BACKEND == "jax":
        import jax

        return {"XLA": jax.jit}
    return {"eager": lambda function: function}


def milliseconds(function: Callable[[Any], Any], alpha: Any) -> float:
    start = time.perf_counter()
    np.asarray(keras.ops.convert_to_numpy(function(alpha)))
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    alpha = keras.ops.convert_to_tensor(np.random.default_rng(0).uniform(0.3, 3, SHAPE).astype("float32"))
    # From an integer seed, TensorFlow would compute the numbers at compile time. A jitted JAX function has no state.
    seed = 1 if BACKEND == "jax" else keras.random.SeedGenerator(1)
    print("| backend | compiled | keras.random.beta (ms) | keras_reg.random.beta (ms) | ratio |\n|---|---|---|---|---|")
    for mode, compiled in modes().items():
        theirs = compiled(lambda a: keras.random.beta(SHAPE, a, a, seed=seed))
        ours = compiled(lambda a: random.beta(SHAPE, a, a, seed=seed))
        functions = {"theirs": theirs, "ours": ours}
        try:
            milliseconds(theirs, alpha)
        except Exception:  # XLA's exception has no public class
            del functions["theirs"]
        milliseconds(ours, alpha)
        times: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(rounds):
            for name, function in functions.items():
                times[name].append(milliseconds(function, alpha))
        medians = {name: statistics.median(values) for name, values in times.items()}
        if "theirs" in medians:
            ratio = medians["ours"] / medians["theirs"]
            print(f"| {BACKEND} | {mode} | {medians['theirs']:.1f} | {medians['ours']:.1f} | {ratio:.2f} |")
        else:
            print(f"| {BACKEND} | {mode} | fails | {medians['ours']:.1f} | |")


if __name__ == "__main__":
    main()
