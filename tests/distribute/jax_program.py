"""Compares training on one JAX device with training on two, with `DataParallel` and `ModelParallel`.

`run_python` runs this program.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation
from keras_reg.data import with_sample_ids
from keras_reg.layers import Dispersive
from keras_reg.regularizers import SoftOrthogonality

SAMPLES, FEATURES, HIDDEN, CLASSES = 20, 4, 6, 4
DEVICES = keras.distribution.list_devices()
assert len(DEVICES) == 2, DEVICES


def build_model() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((FEATURES,), name="features"),
        keras.layers.Dense(HIDDEN, "tanh", kernel_regularizer=SoftOrthogonality(0.1), name="hidden"),
        Dispersive(0.1),
        keras.layers.Dense(CLASSES, name="logits"),
    ]
    model = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    return model


def train(source: str) -> tuple[dict[str, np.ndarray], list]:
    """Returns weights, memories and logs after three epochs, and the model and callbacks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    y = rng.integers(0, CLASSES, SAMPLES).astype("int32")
    arguments = {"num_samples": SAMPLES, "num_classes": CLASSES} if source == "memory" else {"source": "model"}
    callbacks = [ProgressiveSelfDistillation(**arguments)]
    if source == "memory":
        callbacks.append(EarlyLearningRegularization(SAMPLES, CLASSES, momentum=0.5))
    net = build_model()
    weights = np.random.default_rng(5)
    net.set_weights([weights.normal(size=w.shape, scale=0.5) for w in net.weights])
    ids = with_sample_ids(net, x)
    logs = net.fit(ids, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=callbacks).history
    results = {f"weight {index}": weight for index, weight in enumerate(net.get_weights())}
    if source == "memory":
        results |= {f"memory {index}": callback.memory.numpy() for index, callback in enumerate(callbacks)}
    results |= {f"log {name}": np.array(values) for name, values in logs.items()}
    return results, [net, *callbacks]


def data_parallel() -> keras.distribution.Distribution:
    return keras.distribution.DataParallel(devices=DEVICES)


def model_parallel() -> keras.distribution.Distribution:
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), DEVICES)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*hidden/kernel"] = (None, "model")
    layout["(targets|past_predictions)/values"] = (None, "model")
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")


def list_shard_shapes(variable) -> list[tuple[int, ...]]:
    """Returns the shapes of the parts of a variable on the devices."""
    return [shard.data.shape for shard in variable.value.addressable_shards]


def evaluate_around_a_fit() -> None:
    """Checks `evaluate` within a `fit` with a method, which adds variables to the model, and after the `fit`."""
    net = build_model()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, FEATURES)).astype("float32"), rng.integers(0, CLASSES, 8).astype("int32")
    net.evaluate(x, y, 4, verbose=0)
    method = EarlyLearningRegularization(8, CLASSES)
    logs = net.fit(with_sample_ids(net, x), y, 4, verbose=0, validation_data=(x, y), callbacks=[method]).history
    results = net.evaluate(x, y, 4, verbose=0, return_dict=True)
    for name, value in results.items():
        np.testing.assert_allclose(value, logs[f"val_{name}"][-1], rtol=1e-6, err_msg=name)


def main() -> None:
    on_one_device = {source: train(source)[0] for source in ("memory", "model")}
    for distribution in (data_parallel, model_parallel):
        with distribution().scope():
            evaluate_around_a_fit()
            for source, expected in on_one_device.items():
                results, (net, *callbacks) = train(source)
                for name, value in expected.items():
                    message = f"{distribution.__name__}, {source}: {name}"
                    np.testing.assert_allclose(results[name], value, rtol=1e-5, atol=1e-5, err_msg=message)
                columns = CLASSES // (2 if distribution is model_parallel else 1)
                if source == "memory":
                    for callback in callbacks:
                        shapes = list_shard_shapes(callback.memory.values)
                        assert shapes == [(SAMPLES + 1, columns)] * 2, (distribution.__name__, shapes)
                width = HIDDEN // (2 if distribution is model_parallel else 1)
                assert list_shard_shapes(net.layers[0].kernel) == [(FEATURES, width)] * 2, distribution.__name__


if __name__ == "__main__":
    main()
