"""Trains on one device of JAX and on two, by `DataParallel` and by `ModelParallel`, and compares; for `run_python`."""

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


def model() -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((FEATURES,), name="features"),
        keras.layers.Dense(HIDDEN, "tanh", kernel_regularizer=SoftOrthogonality(0.1), name="hidden"),
        Dispersive(0.1),
        keras.layers.Dense(CLASSES, name="logits"),
    ]
    made = keras.Sequential(layers)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    made.compile(keras.optimizers.Adam(0.05), loss, metrics=["accuracy"])
    return made


def trained(source: str) -> tuple[dict[str, np.ndarray], list]:
    """Weights, memories and logs after three epochs, and the callbacks."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(SAMPLES, FEATURES)).astype("float32")
    y = rng.integers(0, CLASSES, SAMPLES).astype("int32")
    of_memory = {"num_samples": SAMPLES, "num_classes": CLASSES} if source == "memory" else {"source": "model"}
    callbacks = [ProgressiveSelfDistillation(**of_memory)]
    if source == "memory":
        callbacks.append(EarlyLearningRegularization(SAMPLES, CLASSES, momentum=0.5))
    net = model()
    weights = np.random.default_rng(5)
    net.set_weights([weights.normal(size=w.shape, scale=0.5) for w in net.weights])
    ids = with_sample_ids(net, x)
    logs = net.fit(ids, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=callbacks).history
    found = {f"weight {index}": weight for index, weight in enumerate(net.get_weights())}
    if source == "memory":
        found |= {f"memory {index}": callback.memory.numpy() for index, callback in enumerate(callbacks)}
    found |= {f"log {name}": np.array(values) for name, values in logs.items()}
    return found, [net, *callbacks]


def data_parallel() -> keras.distribution.Distribution:
    return keras.distribution.DataParallel(devices=DEVICES)


def model_parallel() -> keras.distribution.Distribution:
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), DEVICES)
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*hidden/kernel"] = (None, "model")
    layout["(targets|past_predictions)/values"] = (None, "model")
    return keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")


def parts(variable) -> list[tuple[int, ...]]:
    """The shapes of what each device holds of a variable."""
    return [shard.data.shape for shard in variable.value.addressable_shards]


def evaluate_around_a_fit() -> None:
    """With a method on, the model has more variables: `evaluate` follows, within the `fit` and after it."""
    net = model()
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, FEATURES)).astype("float32"), rng.integers(0, CLASSES, 8).astype("int32")
    net.evaluate(x, y, 4, verbose=0)
    method = EarlyLearningRegularization(8, CLASSES)
    logs = net.fit(with_sample_ids(net, x), y, 4, verbose=0, validation_data=(x, y), callbacks=[method]).history
    found = net.evaluate(x, y, 4, verbose=0, return_dict=True)
    for name, value in found.items():
        np.testing.assert_allclose(value, logs[f"val_{name}"][-1], rtol=1e-6, err_msg=name)


def main() -> None:
    alone = {source: trained(source)[0] for source in ("memory", "model")}
    for distribution in (data_parallel, model_parallel):
        with distribution().scope():
            evaluate_around_a_fit()
            for source, expected in alone.items():
                found, (net, *callbacks) = trained(source)
                for name, value in expected.items():
                    where = f"{distribution.__name__}, {source}: {name}"
                    np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5, err_msg=where)
                columns = CLASSES // (2 if distribution is model_parallel else 1)
                if source == "memory":
                    for callback in callbacks:
                        shapes = parts(callback.memory.values)
                        assert shapes == [(SAMPLES + 1, columns)] * 2, (distribution.__name__, shapes)
                width = HIDDEN // (2 if distribution is model_parallel else 1)
                assert parts(net.layers[0].kernel) == [(FEATURES, width)] * 2, distribution.__name__


if __name__ == "__main__":
    main()
