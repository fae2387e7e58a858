"""Trains behind noise masks on two replicas of TensorFlow: they draw different noise, and stay alike."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from keras_reg import random
from keras_reg.callbacks import PolicyGradientNoiseMask
from keras_reg.layers import BetaNoise, PolicyNoiseMask

DEVICE = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(DEVICE, [tf.config.LogicalDeviceConfiguration()] * 2)
STRATEGY = tf.distribute.MirroredStrategy([device.name for device in tf.config.list_logical_devices("CPU")])
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def copies(variable) -> list[np.ndarray]:
    return [part.numpy() for part in variable.value.values]


def draws_differ() -> None:
    for seed in (3, keras.random.SeedGenerator(5)):
        drawn = STRATEGY.run(tf.function(lambda seed=seed: random.beta((50,), 2.0, 3.0, seed=seed)))
        first, second = (part.numpy() for part in STRATEGY.experimental_local_results(drawn))
        assert not np.isin(first, second).any(), "the replicas draw the same"


def train(estimator: str) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(32, 6, 6, 1)).astype("float32"), rng.integers(0, 3, 32)
    keras.utils.set_random_seed(0)
    with STRATEGY.scope():
        mask = PolicyNoiseMask(grid=2, blur_sigma=1.0, seed=1, base_momentum=0.5)
        layers = [mask, keras.layers.Flatten(), BetaNoise(2.0, 2.0), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((6, 6, 1)), *layers])
        model.compile(keras.optimizers.SGD(0.1), LOSS)
    outputs = mask.policy(x[:8]).numpy()  # of the first step
    base = mask.base.numpy()
    callback = PolicyGradientNoiseMask(estimator)
    model.fit(x[:8], y[:8], batch_size=8, shuffle=False, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(mask.base.numpy(), 0.5 * base + 0.5 * outputs.mean(0), atol=1e-5, err_msg="the base")
    logs = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[callback]).history
    assert all(np.isfinite(values).all() for values in logs.values()), logs
    np.testing.assert_allclose(logs["loss"][-1], logs["mask_policy"][-1] - logs["mask_reward"][-1], rtol=1e-4)
    for variable in model.weights:
        first, second = copies(variable)
        np.testing.assert_array_equal(first, second, err_msg=variable.path)
    assert callback.strip().predict(x, verbose=0).shape == (32, 3)


if __name__ == "__main__":
    draws_differ()
    train("reinforce")
    train("paper")
