"""Trains behind noise masks on two replicas of TensorFlow, whose noise differs and whose weights are equal."""

from __future__ import annotations

import keras
import numpy as np

from keras_reg import random
from keras_reg.callbacks import PolicyGradientNoiseMask
from keras_reg.layers import BetaNoise, PolicyNoiseMask
from keras_reg.training._state import MovingMean
from tests.support.replicas import two_replicas


def copies(variable) -> list[np.ndarray]:
    return [part.numpy() for part in variable.value.values]


def draw() -> list[bool]:
    """Returns whether both replicas draw any equal number, for a fixed seed and for a seed generator."""
    import tensorflow as tf

    common = []
    with two_replicas():
        strategy = tf.distribute.get_strategy()
    for seed in (3, keras.random.SeedGenerator(5)):
        drawn = strategy.run(tf.function(lambda seed=seed: random.beta((50,), 2.0, 3.0, seed=seed)))
        first, second = (part.numpy() for part in strategy.experimental_local_results(drawn))
        common.append(bool(np.isin(first, second).any()))
    return common


def baselines() -> list[list[float]]:
    """Returns the mean of the costs so far, as each replica reads it in each of three steps."""
    import tensorflow as tf

    with two_replicas():
        strategy = tf.distribute.get_strategy()
        costs = MovingMean(0.5, "costs")

    @tf.function
    def step(first):
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        return costs.read_and_update(tf.reshape(first + 2 * tf.cast(index, "float32"), (1,)))

    means = [strategy.experimental_local_results(strategy.run(step, (tf.constant(f),))) for f in (1.0, 5.0, 9.0)]
    return [[float(value) for value in values] for values in means]


def train(estimator: str) -> None:
    """Checks the moving base, the logs, and the weights of both replicas."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6, 6, 1)).astype("float32"), rng.integers(0, 3, 32)
    keras.utils.set_random_seed(0)
    with two_replicas():
        mask = PolicyNoiseMask(grid=2, blur_sigma=1.0, seed=1, base_momentum=0.5)
        layers = [mask, keras.layers.Flatten(), BetaNoise(2.0, 2.0), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
        model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    first_outputs = mask.policy(x[:8]).numpy()
    base = mask.base.numpy()
    callback = PolicyGradientNoiseMask(estimator=estimator)
    model.fit(x[:8], y[:8], batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(
        mask.base.numpy(), 0.5 * base + 0.5 * first_outputs.mean(0), atol=1e-5, err_msg="the base"
    )
    logs = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[callback]).history
    assert all(np.isfinite(values).all() for values in logs.values()), logs
    np.testing.assert_allclose(logs["loss"][-1], logs["mask_policy"][-1] - logs["mask_reward"][-1], rtol=1e-4)
    for variable in model.weights:
        first, second = copies(variable)
        np.testing.assert_array_equal(first, second, err_msg=variable.path)
    assert callback.strip().predict(x, verbose=0).shape == (32, 3)
