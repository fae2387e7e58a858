# %% [markdown]
# # Self-distillation, and how far to trust probabilities
#
# A network is *calibrated* if 80 % of the answers that it gives with a probability of 80 % are right. Networks that are
# trained until they memorize the training set are not calibrated: they are wrong with high confidence. Progressive
# self-distillation ([arXiv 2006.12000](https://arxiv.org/abs/2006.12000)) softens each label with the model's own
# prediction for that sample one epoch earlier. Label smoothing, which Keras has, softens all labels equally. This
# tutorial compares both with training without a method ("plain"). The data are handwritten digits with most of their
# pixels hidden, so that many digits cannot be recognized.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 60))
seeds = (0, 1, 2) if "TUTORIAL_EPOCHS" not in os.environ else (0,)

# %%
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")
hidden = np.random.default_rng(0).random(images.shape) < 0.6
images = np.where(hidden, 0.0, images).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, test_size=800, stratify=labels, random_state=0)
print(f"{len(x)} images to train on, {len(x_test)} to test, {hidden.mean():.0%} of the pixels hidden")

# %% [markdown]
# ## Three ways to train
#
# The calibration metrics are passed to `compile` in the same way as accuracy. `with_sample_ids` adds a number to each
# image. With this number, the callback finds the prediction of the previous epoch. The test set has no numbers, because
# they are for training only.


# %%
def train(method, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((64,), name="image"),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dense(10),
        ]
    )
    smoothing = 0.1 if method == "label smoothing" else 0.0
    model.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing),
        metrics=[
            "accuracy",
            keras_reg.metrics.NegativeLogLikelihood(from_logits=True, name="nll"),
            keras_reg.metrics.ExpectedCalibrationError(from_logits=True, name="ece"),
        ],
    )
    callbacks = []
    if method == "self-distillation":
        callbacks = [keras_reg.callbacks.ProgressiveSelfDistillation(num_samples=len(x), num_classes=10)]
    one_hot, one_hot_test = keras.utils.to_categorical(y, 10), keras.utils.to_categorical(y_test, 10)
    inputs = keras_reg.data.with_sample_ids(model, x)
    history = model.fit(
        inputs, one_hot, 64, epochs, validation_data=(x_test, one_hot_test), callbacks=callbacks, verbose=0
    ).history
    return history, keras.ops.convert_to_numpy(keras.ops.softmax(model.predict(x_test, verbose=0)))


methods = ("plain", "label smoothing", "self-distillation")
runs = {method: [train(method, seed) for seed in seeds] for method in methods}

# %% [markdown]
# ## The last epoch
#
# The table shows the mean over three seeds, and the largest deviation of a seed from this mean. `nll` is the mean
# negative log of the probability that the right class got. `ece` is the distance between confidence and accuracy; it is
# 0 for a calibrated model.

# %%
print(f"{'':20}{'accuracy':>18}{'nll':>18}{'ece':>18}")
for method in methods:
    row = f"{method:20}"
    for name in ("val_accuracy", "val_nll", "val_ece"):
        values = np.array([history[name][-1] for history, _ in runs[method]])
        row += f"{values.mean():>9.3f} +- {np.abs(values - values.mean()).max():.3f}"
    print(row)

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for method in methods:
    history, probabilities = runs[method][0]
    axes[0].plot(history["val_nll"], label=method)
    axes[1].plot(history["val_ece"], label=method)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y_test
    bins = np.clip((confidence * 10).astype(int), 0, 9)
    shown = [b for b in range(10) if (bins == b).sum() >= 10]
    means = [[values[bins == b].mean() for b in shown] for values in (confidence, right)]
    axes[2].plot(*means, marker="o", markersize=3, label=method)
axes[2].plot([0, 1], [0, 1], color="grey", linestyle=":", label="calibrated")
axes[0].set(title="negative log-likelihood, test", xlabel="epoch")
axes[1].set(title="calibration error, test", xlabel="epoch")
axes[2].set(title="last epoch", xlabel="confidence", ylabel="accuracy")
axes[2].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What to remember
#
# - Self-distillation does not change the accuracy. Compared with plain training, it makes this network better
#   calibrated, and its probabilities less wrong.
# - On this task, label smoothing is calibrated even better, but it had the right amount by luck. On easy tasks it makes
#   networks *under*confident. With all pixels of these digits it does so (docs/progressive_self_distillation.md), while
#   self-distillation follows what the network really knows.
# - If plain training is stopped where its test loss is lowest, it is calibrated as well as the others. If you can
#   choose the epoch with a validation split, you need no remedy for what comes later. These methods are for training
#   that continues.
# - The weight of the past prediction grows until the last epoch, so the method needs enough epochs. In short training
#   it does harm, because the past predictions are poor teachers.
# - All numbers are from one small task. The table shows their spread over three seeds.
# - If the table of past predictions does not fit, or samples are augmented, `source="model"` takes the predictions from
#   a frozen copy of the model.
