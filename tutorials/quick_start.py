# %% [markdown]
# # Training with wrong labels, and finding them
#
# In this tutorial, 40 % of the labels of a small set of handwritten digits are replaced by wrong ones. A network that
# is trained on them first learns the right labels, and then memorizes the wrong ones. One callback, early-learning
# regularization ([arXiv 2007.00151](https://arxiv.org/abs/2007.00151)), prevents this memorization. After training, the
# callback also shows which labels were wrong.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 100))
keras.utils.set_random_seed(0)

# %% [markdown]
# ## Real images with wrong labels
#
# The test set keeps its right labels. It is not used to choose anything.

# %%
images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")
x, x_test, clean, y_test = train_test_split(images, labels, test_size=400, stratify=labels, random_state=0)
y = keras_reg.data.symmetric_noise(clean, rate=0.4, num_classes=10, seed=0)
print(f"{len(x)} training images, {(y != clean).mean():.0%} of their labels are wrong; {len(x_test)} test images")

# %% [markdown]
# ## Training without a method, and training with the callback
#
# Training without a method is called "plain" below. The callback must know which sample is which, even after shuffling.
# `with_sample_ids` therefore adds a number to each image. Everything else is the usual `fit`.


# %%
def make_model():
    model = keras.Sequential(
        [
            keras.Input((64,), name="image"),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(256, "relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


plain = make_model()
plain_history = plain.fit(x, y, 64, epochs, validation_data=(x_test, y_test), verbose=0).history

model = make_model()
callback = keras_reg.callbacks.EarlyLearningRegularization(num_samples=len(x), num_classes=10)
history = model.fit(
    keras_reg.data.with_sample_ids(model, x),
    y,
    batch_size=64,
    epochs=epochs,
    validation_data=(x_test, y_test),
    callbacks=[callback],
    verbose=0,
).history
print(f"test accuracy, plain: {plain_history['val_accuracy'][-1]:.1%}, regularized: {history['val_accuracy'][-1]:.1%}")
best = np.argmax(plain_history["val_accuracy"])
print(f"plain training at its best was {plain_history['val_accuracy'][best]:.1%}, in epoch {best + 1}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.2), layout="constrained")
for name, h in {"plain": plain_history, "early-learning regularization": history}.items():
    axes[0].plot(h["val_accuracy"], label=name)
    axes[1].plot(h["accuracy"], label=name)
axes[0].set(title="right labels (test set)", xlabel="epoch", ylabel="accuracy")
axes[1].set(title="given labels (training set, 40 % wrong)", xlabel="epoch")
axes[1].axhline(0.6, color="grey", linestyle=":", label="share of right labels")
axes[1].legend()
plt.show()

# %% [markdown]
# Plain training exceeds 60 % on the training labels: it memorizes wrong labels, and the test accuracy falls. The
# regularized model stays near 60 %, because it disagrees with the wrong labels. If plain training were stopped at its
# best epoch, it would not be far behind. But that epoch was found with right labels here, which nobody with this
# problem has. (An equally noisy validation split also finds a good epoch: see the table in the README.) Early stopping
# does not show which labels are wrong. The next section does.
#
# ## Which labels are wrong?
#
# The callback keeps a running average of the predictions for every image. If this average prefers another class than
# the label, the label is suspect.

# %%
suspected = callback.suspected_noise(y)
wrong = y != clean
print(f"of the wrong labels, {suspected[wrong].mean():.1%} are found;", end=" ")
print(f"of the right ones, {suspected[~wrong].mean():.1%} are suspected")

# %%
certainty = callback.targets.max(axis=1)
shown = np.flatnonzero(suspected)[np.argsort(-certainty[suspected])[:16]]
figure, axes = plt.subplots(2, 8, figsize=(10, 3.2), layout="constrained")
for axis, i in zip(axes.flat, shown):
    axis.imshow(x[i].reshape(8, 8), cmap="gray_r")
    axis.set_title(f"label {y[i]}\nrather {callback.targets[i].argmax()}", fontsize=9)
    axis.axis("off")
plt.show()

# %% [markdown]
# ## What to do with the suspect labels
#
# First, look at them. Here they are simply left out, and a new model is trained on the other images without a method.

# %%
kept = make_model()
kept_history = kept.fit(x[~suspected], y[~suspected], 64, epochs, validation_data=(x_test, y_test), verbose=0).history
print(f"{suspected.sum()} of {len(y)} images left out; of the others, {wrong[~suspected].mean():.1%} have wrong labels")
print(f"test accuracy of plain training on the others: {kept_history['val_accuracy'][-1]:.1%}")

# %% [markdown]
# ## What to remember
#
# - The labels here are wrong at random. Wrong labels that depend on the image, such as the errors of human annotators,
#   are a different problem. `keras_reg.data.asymmetric_noise` creates some of that kind for experiments.
# - The training loss includes the regularization term and can be negative. Monitor a validation metric instead.
# - Number the samples before you shuffle or augment them. If you are not sure that the numbers are right, pass
#   `check_ids=True`: training then stops at the first sample whose label changes.
# - The memory holds `num_samples x num_classes` numbers. `BackupAndRestore` and `ModelCheckpoint` save it while `fit`
#   runs; `callback.save_state(path)` writes it on demand.
