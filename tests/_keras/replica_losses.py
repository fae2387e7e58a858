"""Collects the losses of layers on each of two replicas of TensorFlow."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg.layers import Dispersive
from tests.support.replicas import two_replicas

HALVES = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")


def collect_losses(between: keras.layers.Layer) -> list[list[float]]:
    """Returns the losses of two dense layers on each replica. Replicas take turns in the layer between them."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(3, "tanh", activity_regularizer="l2") for _ in range(2)]
    model = keras.Sequential([keras.Input((3,)), dense[0], between, dense[1]])

    def step(x):
        model(x, training=True)
        return [tf.stack(layer.losses) for layer in dense]

    strategy = tf.distribute.get_strategy()
    halves = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(HALVES[context.replica_id_in_sync_group])
    )
    results = [strategy.experimental_local_results(values) for values in strategy.run(step, (halves,))]
    return [[value.numpy().tolist() for value in of_replica] for of_replica in zip(*results, strict=True)]


def collect() -> dict[str, list[list[float]]]:
    """Returns the losses of each replica, for different layers between two dense ones."""
    with two_replicas():
        return {
            "apart": collect_losses(keras.layers.Identity()),
            "normalized": collect_losses(keras.layers.BatchNormalization(synchronized=True)),
            "gathered": collect_losses(Dispersive()),
        }
