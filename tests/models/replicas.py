"""Trains T-JEPA on two devices and on one device, and compares them."""

from __future__ import annotations

import contextlib
from typing import Any

import keras
import numpy as np

from keras_reg._keras.replicas import num_replicas
from keras_reg.models import TransformerEncoder
from tests.layers.replicas import BACKEND, copies
from tests.models.support import small_model
from tests.support.replicas import two_replicas

X = np.random.default_rng(0).normal(size=(16, 5)).astype("float32") * np.linspace(1, 3, 16, dtype="float32")[:, None]


def train(scope) -> keras.Model:
    with scope:
        keras.utils.set_random_seed(0)
        model = small_model(momentum=(0.5, 0.9))
        for variable in model.trainable_variables:
            variable.assign(np.random.default_rng(int(np.prod(variable.shape))).normal(size=variable.shape))
        model.compile(keras.optimizers.SGD(0.1), jit_compile=BACKEND == "jax")
    model.fit(X, batch_size=8, epochs=2, shuffle=False, verbose=0)
    return model


def draw_contexts(strategy, model) -> list:
    """Returns the context of each replica in one step."""
    import tensorflow as tf

    @tf.function
    def draw():
        return strategy.run(lambda: model.draw_masks(4)[0])

    return [part.numpy().tolist() for part in draw().values]


def apply_dropout(strategy) -> list:
    """Returns the outputs of each replica for the same tokens: of the dropout layer, and of attention with dropout."""
    import tensorflow as tf

    with strategy.scope():
        encoder = TransformerEncoder(4, num_layers=1, num_heads=1, hidden=8, dropout=0.5)
        encoder.build((2, 8, 4))
    tokens = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 4)), "float32")

    @tf.function
    def drop():
        dropout, attention = encoder.dropouts[0], encoder.blocks[0].attention
        return strategy.run(lambda: (dropout(tokens, training=True), attention(tokens, tokens, training=True)))

    return [[part.numpy().tolist() for part in parts.values] for parts in drop()]


def compare() -> dict[str, Any]:
    """Returns the distances of the weights of two replicas from one replica and from each other, and their draws."""
    one = train(contextlib.nullcontext())
    with two_replicas():
        number = num_replicas() if BACKEND == "tensorflow" else len(keras.distribution.list_devices())
    two = train(two_replicas())
    distances = {}
    for shared, single in zip(two.weights, one.weights, strict=True):
        parts, expected = copies(shared), keras.ops.convert_to_numpy(single)
        to_one = max(float(np.abs(part - expected).max()) for part in parts)
        distances[shared.path] = (to_one, float(np.abs(parts[0] - parts[-1]).max()))
    drawn, kept = [], []
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with two_replicas():
            strategy = tf.distribute.get_strategy()
        drawn, kept = draw_contexts(strategy, two), apply_dropout(strategy)
    return {"replicas": number, "distances": distances, "drawn": drawn, "kept": kept}
