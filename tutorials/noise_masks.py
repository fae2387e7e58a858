# %% [markdown]
# # Pretraining behind noise masks
#
# A classifier is first trained on images that are multiplied by random masks. Then it is trained as usual, without
# masks. The masks come from a small policy network that looks at each image. The policy learns from the cross-entropy
# that its masks cause ([arXiv 2406.14568](https://arxiv.org/abs/2406.14568)). Is this better than training without
# masks for the same number of steps? Is it better than masks that are not learned? This tutorial tests both on
# handwritten digits.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

short = "TUTORIAL_EPOCHS" in os.environ
first, second = (2, 1) if short else (20, 6)
seeds = (0,) if short else (0, 1)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

images, labels = load_digits(return_X_y=True)
images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, train_size=600, stratify=labels, random_state=0)

# %% [markdown]
# ## Noise is a layer
#
# The noise layer comes before the classifier and is the identity at inference. `grid=4` gives each mask 4 x 4 cells,
# which are enlarged to the size of the image and blurred. `BetaNoise` draws its masks from one fixed Beta distribution.
# `GaussianNoise` is a layer of Keras.


# %%
def make_model(noise):
    layers = {
        "none": [],
        "Gaussian noise": [keras.layers.GaussianNoise(0.3, seed=0)],
        "fixed masks": [keras_reg.layers.BetaNoise(1.0, 1.0, noise_shape=(None, None, None, 1), seed=0)],
        "policy masks": [keras_reg.layers.PolicyNoiseMask(grid=4, blur_sigma=1.0, seed=0)],
    }[noise]
    classifier = [
        keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
        keras.layers.MaxPooling2D(),
        keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *layers, *classifier])


def train(noise, seed):
    keras.utils.set_random_seed(seed)
    model = make_model(noise)
    callback = keras_reg.callbacks.PolicyGradientNoiseMask()
    callbacks = [callback] if noise == "policy masks" else []
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(x, y, 32, first, validation_data=(x_test, y_test), callbacks=callbacks, verbose=0).history
    figure = callback.plot_masks(x[:6]) if callbacks and seed == seeds[-1] else None
    if noise == "policy masks":
        plain = callback.strip()  # with the mean of the weights of the last three epochs
    elif noise == "fixed masks":
        plain = keras_reg.surgery.strip(model)
    else:
        plain = make_model("none")
        plain.set_weights(model.get_weights())
    plain.compile(keras.optimizers.SGD(0.005, momentum=0.9), loss, metrics=["accuracy"])
    tuned = plain.fit(x, y, 32, second, validation_data=(x_test, y_test), verbose=0).history
    return {key: history[key] + tuned[key] for key in ("val_loss", "val_accuracy")}, figure


# %% [markdown]
# ## Two phases, with the same number of steps for each kind of noise

# %%
curves, masks = {}, None
for noise in ("none", "Gaussian noise", "fixed masks", "policy masks"):
    runs = [train(noise, seed) for seed in seeds]
    curves[noise] = runs[0][0]
    masks = runs[-1][1] or masks
    last = {key: np.array([run[key][-1] for run, _ in runs]) for key in runs[0][0]}
    print(
        f"{noise:15} test accuracy {last['val_accuracy'].mean():.1%} ({np.round(100 * last['val_accuracy'], 1)})",
        end="",
    )
    print(f", test loss {last['val_loss'].mean():.3f} ({np.round(last['val_loss'], 3)})")

# %%
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for noise, curve in curves.items():
    axis.plot(curve["val_loss"], label=noise)
axis.axvline(first - 0.5, color="grey", linestyle=":", label="masks and noise are dropped")
axis.set(xlabel="epoch", ylabel="test loss", yscale="log")
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What the policy does
#
# The figure shows six training images, the mean of the policy's masks for each image, and each image behind a mask that
# was drawn.

# %%
masks.set_size_inches(6, 3.2)
display(masks)

# %% [markdown]
# ## What to remember
#
# - In accuracy, the policy's masks and Gaussian noise end about one point above training without noise. In the test
#   loss, Gaussian noise is best, then come the fixed masks; the policy's masks are about as good as no noise. Gaussian
#   noise is one line of Keras: try it first. These results are from two seeds of one small task. The results on more
#   data, in docs/policy_noise_mask.md, are no better.
# - The mean masks are grey everywhere: in so few steps, the policy has learned almost nothing about where to look. Its
#   masks act here as noise, not as a policy. The method is meant for long pretraining. The results that the paper
#   reports were not checked.
# - Nothing of the method remains after training: `strip` returns the classifier without masks and policy. Here its
#   weights are the mean over the last epochs.
