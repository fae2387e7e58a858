"""Compares the noise of two replicas, for random layers, callbacks that mix batches, and dropout of Keras."""

from __future__ import annotations

import inspect

import keras
import numpy as np

from keras_reg.callbacks import TunableCutMix, TunableMixup
from keras_reg.tune import Float
from tests.conformance.case import HIDDEN
from tests.support.replicas import two_replicas


def draw_noise(make, strategy) -> list[np.ndarray]:
    """Returns the outputs of two replicas for equal inputs in two steps, four arrays."""
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    before, layer = make()
    inputs = tf.constant(np.random.default_rng(0).uniform(0.2, 0.8, (8, HIDDEN)).astype("float32"))
    step = lambda: layer(before(inputs), training=True)  # noqa: E731
    layer(before(inputs))  # This creates the variables.
    drawn = [strategy.experimental_local_results(strategy.run(step)) for _ in range(2)]
    return [part.numpy() for parts in drawn for part in parts]


def make_parts(case):
    return lambda: (case.before() if case.before else keras.layers.Identity(), case.make(seed=5))


def make_mixing_parts(cls):
    """Returns a function that mixes the inputs of a batch as a callback does, with random shares and partners."""

    def make():
        callback = cls(Float("alpha", 0.5, low=0.0), seed=5)
        callback.create_state(keras.Sequential())
        return keras.layers.Reshape((HIDDEN, 1, 1)), lambda x, training=False: callback.change_batch((x, x))[0]

    return make


def compare() -> dict[str, dict[str, bool]]:
    """Returns whether noise is equal on both replicas, in two steps, and in two runs."""
    comparison = {}
    with two_replicas():
        import tensorflow as tf

        from tests.conformance.cases import CASES

        strategy = tf.distribute.get_strategy()
        layers = {
            case.name: make_parts(case)
            for case in CASES
            if case.kind == "layer" and "seed" in inspect.signature(case.cls).parameters
        }
        layers |= {cls.__name__: make_mixing_parts(cls) for cls in (TunableMixup, TunableCutMix)}
        layers["Dropout of Keras"] = lambda: (keras.layers.Identity(), keras.layers.Dropout(0.5, seed=5))
        for name, make in layers.items():
            drawn = draw_noise(make, strategy)
            comparison[name] = {
                "replicas": bool(np.array_equal(drawn[0], drawn[1])),
                "steps": bool(np.array_equal(drawn[0], drawn[2])),
                "runs": all(map(np.array_equal, drawn, draw_noise(make, strategy))),
            }
    return comparison
