# %% [markdown]
# # Migrating from tensorflow-addons
#
# tensorflow-addons reached its end of life in May 2024, and its last release cannot be imported alongside Keras 3. This
# page covers every feature that it had for regularization, and the optimizers and averages that are used for
# regularization. It shows what is in Keras now, what is in this package, and what is in neither but takes only a few
# lines. All of the code below runs, on TensorFlow, JAX or PyTorch.
#
# | tensorflow-addons (`tfa.`) | now | section |
# |---|---|---|
# | `layers.WeightNormalization` | `keras_reg.layers.WeightNormalization` | 1 |
# | `layers.SpectralNormalization` | `keras.layers.SpectralNormalization`; to bound a layer, `keras_reg.layers.SigmaReparam` | 2 |
# | `layers.StochasticDepth` | `keras.layers.Dropout` with a `noise_shape` | 3 |
# | `layers.NoisyDense` | neither: write your own layer | 4 |
# | `layers.Maxout` | neither: two lines | 4 |
# | `layers.GroupNormalization`, `InstanceNormalization` | `keras.layers.GroupNormalization`, with `groups=-1` for the second | 5 |
# | `optimizers.AdamW`, `SGDW`, `extend_with_decoupled_weight_decay` | `weight_decay=` of every Keras optimizer | 6 |
# | `optimizers.MovingAverage` | `use_ema=True` of every Keras optimizer | 7 |
# | `callbacks.AverageModelCheckpoint` | `keras.callbacks.SwapEMAWeights`, before `ModelCheckpoint` in the list | 7 |
# | `optimizers.SWA` | neither: write your own callback | 8 |
# | `optimizers.LAMB`, `MultiOptimizer` | `keras.optimizers.Lamb`, `MultiOptimizer` | |
# | `optimizers.Lookahead`, `RectifiedAdam`, `Yogi`, `NovoGrad`, `AdaBelief`, `LazyAdam`, `ConditionalGradient` | neither | |
# | `losses.SigmoidFocalCrossEntropy` | `keras.losses.BinaryFocalCrossentropy` | 9 |
# | `image.random_cutout` | `keras.layers.RandomErasing`; with a self-tuned size, `keras_reg.layers.TunableCutout` | 9 |
# | `callbacks.TimeStopping` | neither: write your own callback | 8 |

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 20))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, test_size=400, stratify=labels, random_state=0)


def fit(layers, optimizer="adam", callbacks=()):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(optimizer, loss, metrics=["accuracy"])
    history = model.fit(x, y, 64, epochs, validation_data=(x_test, y_test), callbacks=list(callbacks), verbose=0)
    return model, history.history


# %% [markdown]
# ## 1. Weight normalization
#
# | before | now |
# |---|---|
# | `tfa.layers.WeightNormalization(Dense(64), data_init=True)` | `keras_reg.layers.WeightNormalization(Dense(64), data_init=True)` |
#
# Outputs, gradients and the initialization from data are checked against tensorflow-addons 0.23. There are two
# intentional differences:
#
# - The lengths start as those of the initial weights, so that wrapping changes nothing.
# - The initialization happens in the first training step, never at inference.
#
# `fold` is new: it returns a model of ordinary Keras layers.

# %%
normalized, history = fit(
    [
        keras_reg.layers.WeightNormalization(keras.layers.Dense(64, "relu"), data_init=True),
        keras_reg.layers.WeightNormalization(keras.layers.Dense(10), data_init=True),
    ]
)
plain = keras_reg.fold(normalized)
distance = np.abs(plain.predict(x_test, verbose=0) - normalized.predict(x_test, verbose=0)).max()
print(f"test accuracy {history['val_accuracy'][-1]:.1%}; {[type(layer).__name__ for layer in plain.layers]}", end="")
print(f" after folding, largest difference {distance:.0e}")

# %% [markdown]
# ## 2. Spectral normalization
#
# | before | now |
# |---|---|
# | `tfa.layers.SpectralNormalization(Dense(64))` | `keras.layers.SpectralNormalization(Dense(64))` |
#
# The layer of Keras overwrites the kernel in each training call. If the kernel should instead be computed from a
# parameter, with gradients through the norm, use [sigma reparameterization](https://arxiv.org/abs/2303.06296). It
# divides the kernel by its spectral norm and multiplies it by a trained length.

# %%
spectral, history = fit([keras.layers.SpectralNormalization(keras.layers.Dense(64, "relu")), keras.layers.Dense(10)])
sigma, sigma_history = fit([keras_reg.layers.SigmaReparam(keras.layers.Dense(64, "relu")), keras.layers.Dense(10)])
print(f"keras.layers.SpectralNormalization: test accuracy {history['val_accuracy'][-1]:.1%}")
norm = np.linalg.norm(keras_reg.fold(sigma).layers[0].get_weights()[0], 2)
print(
    f"keras_reg.layers.SigmaReparam: {sigma_history['val_accuracy'][-1]:.1%}, spectral norm after training {norm:.2f}"
)

# %% [markdown]
# ## 3. Stochastic depth
#
# | before | now |
# |---|---|
# | `tfa.layers.StochasticDepth(0.8)([x, branch(x)])` | `x + Dropout(0.2, noise_shape=(1, 1))(branch(x))` |
#
# The layer of tensorflow-addons kept or dropped a branch for the whole batch, which corresponds to a noise shape of
# ones. With `None` as the first entry, each sample is dropped independently ("drop path"), which is the more common
# form. Dropout scales during training, by one over the survival probability. tensorflow-addons scaled at inference, by
# that probability. Both are correct in expectation, but weights cannot be moved from one to the other without that
# factor.

# %%
features = keras.ops.ones((6, 4))
keras.utils.set_random_seed(3)
for name, shape in (("whole batches", (1, 1)), ("each sample", (None, 1))):
    path = keras.layers.Dropout(0.5, noise_shape=shape, seed=3)
    rows = keras.ops.convert_to_numpy(path(features, training=True))
    print(
        f"{name}: factors of the six rows {rows[:, 0].tolist()}, one for all columns: {np.ptp(rows, axis=1).max() == 0}"
    )

inputs = keras.Input((64,))
hidden = keras.layers.Dense(64, "relu")(inputs)
for depth in range(1, 4):
    branch = keras.layers.Dense(64, "relu")(hidden)
    hidden = keras.layers.Add()([hidden, keras.layers.Dropout(0.1 * depth, noise_shape=(None, 1))(branch)])
residual = keras.Model(inputs, keras.layers.Dense(10)(hidden))
residual.compile("adam", loss, metrics=["accuracy"])
residual.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
print(f"a residual network with it: test accuracy {residual.evaluate(x_test, y_test, verbose=0)[1]:.1%}")

# %% [markdown]
# ## 4. Noisy dense layers, Maxout
#
# Neither Keras nor this package has these layers. `NoisyDense` is short. In the version below, the noise is factorized,
# drawn once per batch, and off at inference. The bias has no noise, and an activation is a separate layer.


# %%
@keras.saving.register_keras_serializable("my_project")
class NoisyDense(keras.layers.Dense):
    """Dense with weights mean + sigma * noise; one draw for each batch."""

    def build(self, input_shape):
        super().build(input_shape)
        size = input_shape[-1] ** -0.5
        constant = keras.initializers.Constant(0.5 * size)
        self.sigma = self.add_weight(name="sigma", shape=self.kernel.shape, initializer=constant)
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, inputs, training=False):
        outputs = super().call(inputs)
        if not training:
            return outputs
        rows, columns = (keras.random.normal((size,), seed=self.seeds) for size in self.kernel.shape)
        rows, columns = (keras.ops.sign(e) * keras.ops.sqrt(keras.ops.abs(e)) for e in (rows, columns))
        return outputs + keras.ops.matmul(inputs * rows, self.sigma) * columns


_, history = fit([keras.layers.Dense(64, "relu"), NoisyDense(10)])
print(f"NoisyDense: test accuracy {history['val_accuracy'][-1]:.1%}")

pairs = [keras.layers.Dense(64 * 2), keras.layers.Reshape((64, 2))]
_, history = fit([*pairs, keras.layers.Lambda(lambda pair: keras.ops.max(pair, axis=-1)), keras.layers.Dense(10)])
print(f"Maxout: test accuracy {history['val_accuracy'][-1]:.1%}")

# %% [markdown]
# ## 5. Group and instance normalization
#
# One Keras layer does both.

# %%
x_images = keras.random.normal((2, 8, 8, 6), seed=0)
group = keras.layers.GroupNormalization(groups=3)(x_images)
instance = keras.layers.GroupNormalization(groups=-1)(x_images)
print(f"deviation of each channel of a sample, instance normalization: {keras.ops.std(instance, axis=(1, 2))[0]}")

# %% [markdown]
# ## 6. Decoupled weight decay
#
# | before | now |
# |---|---|
# | `tfa.optimizers.AdamW(weight_decay=1e-4)` | `keras.optimizers.AdamW(weight_decay=0.1)` |
# | `tfa.optimizers.SGDW(...)` | `keras.optimizers.SGD(..., weight_decay=...)` |
# | `exclude_from_weight_decay=[...]` | `optimizer.exclude_from_weight_decay(var_names=[...])` |
#
# There is one trap: tensorflow-addons subtracts `weight_decay * w` in each step, and Keras subtracts
# `learning_rate * weight_decay * w`. To get the old decay, divide the old number by the learning rate. The decay then
# also follows a schedule of the learning rate. With a gradient of 0, only the decay is left:

# %%
for optimizer in (keras.optimizers.AdamW(1e-3, weight_decay=0.1), keras.optimizers.SGD(1e-3, weight_decay=0.1)):
    variable = keras.Variable([1.0], name="kernel")
    optimizer.apply([keras.ops.zeros(1)], [variable])
    print(f"{type(optimizer).__name__}: 1 becomes {float(variable.value[0]):.4f}, by 0.001 x 0.1")

optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.1)
optimizer.exclude_from_weight_decay(var_names=["bias"])
_, history = fit([keras.layers.Dense(64, "relu"), keras.layers.Dense(10)], optimizer)
print(f"AdamW without decay of biases: test accuracy {history['val_accuracy'][-1]:.1%}")

# %% [markdown]
# ## 7. Averages of weights
#
# | before | now |
# |---|---|
# | `tfa.optimizers.MovingAverage(Adam())` | `keras.optimizers.Adam(use_ema=True)` |
# | `tfa.callbacks.AverageModelCheckpoint(path)` | `SwapEMAWeights(swap_on_epoch=True)`, then `ModelCheckpoint(path)` |
#
# With `use_ema=True` alone, the averages become the weights at the end of `fit`. With `SwapEMAWeights`, validation uses
# the averages too, and so does a checkpoint callback that comes after it in the list. On JAX, Keras 3.15 cannot call
# `fit` twice with `use_ema=True` unless that callback is used. In the output, "plain" means without averages.

# %%
_, averaged = fit(
    [keras.layers.Dense(64, "relu"), keras.layers.Dense(10)],
    keras.optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.95),
    [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
)
_, history = fit([keras.layers.Dense(64, "relu"), keras.layers.Dense(10)], keras.optimizers.Adam(3e-3))
print(f"test loss, plain {history['val_loss'][-1]:.4f}, averaged {averaged['val_loss'][-1]:.4f}")

# %% [markdown]
# ## 8. Stochastic weight averaging, and stopping after a time limit
#
# `tfa.optimizers.SWA` averaged the weights of some epochs, with equal weight for each epoch. Neither Keras nor this
# package has it, but a callback can do it. The callback copies weights as NumPy arrays, because two variables that
# share memory fail on JAX. The statistics of batch normalization do not match averaged weights. If a model has batch
# normalization, run some batches in training mode with a learning rate of 0 afterwards.


# %%
class WeightAverage(keras.callbacks.Callback):
    """The mean of the weights at the ends of the last epochs, set when training ends."""

    def __init__(self, first_epoch):
        super().__init__()
        self.first_epoch, self.count = first_epoch, 0

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.first_epoch:
            weights = self.model.get_weights()
            self.count += 1
            mean = self.mean if self.count > 1 else weights
            self.mean = [old + (new - old) / self.count for old, new in zip(mean, weights)]

    def on_train_end(self, logs=None):
        self.model.set_weights(self.mean)


class StopAfter(keras.callbacks.Callback):
    """`tfa.callbacks.TimeStopping`."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def on_train_begin(self, logs=None):
        self.start = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self.start > self.seconds:
            self.model.stop_training = True


swa, history = fit(
    [keras.layers.Dense(64, "relu"), keras.layers.Dense(10)],
    keras.optimizers.Adam(3e-3),
    [WeightAverage(first_epoch=epochs // 2), StopAfter(seconds=120)],
)
print(
    f"test loss of the last epoch {history['val_loss'][-1]:.4f}, averaged {swa.evaluate(x_test, y_test, verbose=0)[0]:.4f}"
)

# %% [markdown]
# ## 9. Focal loss, cutout
#
# | before | now |
# |---|---|
# | `tfa.losses.SigmoidFocalCrossEntropy(alpha=0.25, gamma=2.0)` | `keras.losses.BinaryFocalCrossentropy(alpha=0.25, gamma=2.0, apply_class_balancing=True)` |
# | `tfa.image.random_cutout(images, 4)` | `keras.layers.RandomErasing(...)`, or `keras_reg.layers.TunableCutout` |
#
# tensorflow-addons summed over the last axis and did not reduce over the batch. Keras takes the mean over both.

# %%
truth, probabilities = np.array([[1.0, 0.0]]), np.array([[0.7, 0.4]])
focal = keras.losses.BinaryFocalCrossentropy(alpha=0.25, gamma=2.0, apply_class_balancing=True)
by_hand = np.mean([0.25 * 0.3**2 * -np.log(0.7), 0.75 * 0.4**2 * -np.log(0.6)])
print(f"focal loss {float(focal(truth, probabilities)):.6f}, by its formula {by_hand:.6f}")

pictures = x_test[:6].reshape(-1, 8, 8, 1)
erased = keras.layers.RandomErasing(factor=1.0, scale=(0.1, 0.2), fill_value=0.5, value_range=(0, 1), seed=0)(
    pictures, training=True
)
figure, axes = plt.subplots(1, 6, figsize=(7, 1.4), layout="constrained")
for axis, picture in zip(axes, keras.ops.convert_to_numpy(erased)):
    axis.imshow(picture[..., 0], cmap="gray_r")
    axis.axis("off")
plt.show()

# %% [markdown]
# ## What to remember
#
# - Weight normalization is in this package, and spectral and group normalization are in Keras. Stochastic depth is a
#   `noise_shape`. `NoisyDense` and `Maxout` are in neither: write them yourself.
# - Weight decay has different units: divide the old number by the learning rate.
# - If training still improves during the averaged epochs, their average is worse than the last epoch, as above. Start
#   averaging where the loss has become flat.
# - The accuracies above show that the code works. The task is too easy for them to tell methods apart.
