# %% [markdown]
# # Several devices
#
# With data parallelism, each device gets a part of every batch, and all devices keep the same weights. Methods that
# remember something of each sample, or that draw noise, can go wrong there without an error: each device would keep its
# own memory. This tutorial uses one method with a memory, early-learning regularization. It is trained on one device
# and on two, with TensorFlow's `MirroredStrategy` and with `keras.distribution` on JAX. Then the weights and memories
# are compared.
#
# This machine has no accelerator, so its processor acts as two devices. The programs are those for GPUs, except for the
# lines that divide the processor. This does not make training faster, and no speed is measured.

# %%
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import matplotlib.pyplot as plt
import numpy as np

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 8))

# %% [markdown]
# ## The program
#
# The code that is specific to two devices is at the top of the program. Each run starts a new process, because devices
# must be divided before anything else happens, and because Keras accepts one distribution per process.
#
# - The batch size is that of all devices together: 64 means 32 for each of two devices.
# - On TensorFlow, the model *and* the callback's memory are created in the scope of the strategy. The callback creates
#   its memory itself when `fit` begins.
# - JAX divides every batch evenly, including the last one, in `predict` as in `fit`. With two devices, arrays of odd
#   length fail. Here there are 1280 training and 512 test images.
# - The samples are shuffled once, beforehand, so that both runs see the same batches and can be compared.

# %%
program = """
import contextlib
import json
import sys

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_reg

number, epochs = int(sys.argv[1]), int(sys.argv[2])
scope = contextlib.nullcontext()
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]  # not needed for GPUs
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * number)
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    if number > 1:
        scope = tf.distribute.MirroredStrategy(devices).scope()
else:
    devices = keras.distribution.list_devices()  # XLA_FLAGS sets the number of CPU devices; not needed for GPUs
    if number > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))

images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = (images[order] / 16.0).astype("float32"), labels[order]
x, clean, x_test, y_test = images[:1280], labels[:1280], images[1280:1792], labels[1280:1792]
y = keras_reg.data.symmetric_noise(clean, rate=0.4, num_classes=10, seed=0)

keras.utils.set_random_seed(0)
with scope:
    model = keras.Sequential(
        [keras.Input((64,), name="image"), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
callback = keras_reg.callbacks.EarlyLearningRegularization(num_samples=len(x), num_classes=10)
inputs = keras_reg.data.with_sample_ids(model, x)
history = model.fit(inputs, y, 64, epochs, shuffle=False, callbacks=[callback], verbose=0).history
wrong = y != clean
suspected = callback.suspected_noise(y)
print(json.dumps({
    "devices": len(devices),
    "loss": history["loss"],
    "accuracy": float(np.mean(model.predict(x_test, verbose=0).argmax(axis=1) == y_test)),
    "found": float(suspected[wrong].mean()),
    "weights": np.concatenate([w.ravel() for w in model.get_weights()]).tolist(),
    "memory": callback.targets.ravel().tolist(),
}))
"""


def run(backend, number):
    flags = f"--xla_force_host_platform_device_count={number}"
    environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # use the CPUs
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "program.py")
        file.write_text(program)
        command = [sys.executable, str(file), str(number), str(epochs)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


results = {(backend, number): run(backend, number) for backend in ("tensorflow", "jax") for number in (1, 2)}

# %% [markdown]
# ## One device and two devices

# %%
for backend in ("tensorflow", "jax"):
    one, two = results[backend, 1], results[backend, 2]
    assert (one["devices"], two["devices"]) == (1, 2)
    for key in ("weights", "memory"):
        distance = np.abs(np.array(one[key]) - np.array(two[key])).max()
        print(f"{backend}: {key} of one device and of two differ by {distance:.0e} at most")
    print(f"{backend}: test accuracy {one['accuracy']:.1%} and {two['accuracy']:.1%}", end="")
    print(f", wrong labels found {one['found']:.1%} and {two['found']:.1%}")

# %%
figure, axis = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
for (backend, number), result in results.items():
    axis.plot(result["loss"], linestyle="--" if number == 2 else "-", label=f"{backend}, {number} device(s)")
axis.set(xlabel="epoch", ylabel="training loss (the term included)")
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What to remember
#
# - Number the samples before the data are divided among devices. The ids keep the memory correct.
# - Batch normalization has separate statistics on each device unless it is created with `synchronized=True`.
# - Layers that draw noise draw different numbers on each device, as they should. Two devices then do not train bit for
#   bit as one device does.
# - Rounding differs with the number of devices, and training amplifies small differences. After many more epochs than
#   here, the weights are no longer the same, but they are equally good. A difference that is large from the first
#   epochs on is a bug.
