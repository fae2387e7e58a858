# %% [markdown]
# # Computed weights: weight compander, weight normalization, folding
#
# Two methods train parameters from which the weights of a layer are computed, instead of the weights themselves.
# [Weight normalization](https://arxiv.org/abs/1602.07868) trains length and direction separately. The [weight
# compander](https://arxiv.org/abs/2306.16993) makes each weight a bounded, S-shaped function of a free parameter, so
# that no single weight can become large. After training, `fold` returns a model of ordinary Keras layers.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pathlib
import tempfile

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 40))
keras.utils.set_random_seed(0)

images, labels = load_digits(return_X_y=True)
images = (images / 16.0).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, test_size=400, stratify=labels, random_state=0)

# %% [markdown]
# ## Wrapping an existing model
#
# `reparameterize` wraps each layer that has a kernel. Wrapping loses nothing: at first, the wrapped model has the same
# outputs as the original model. The model without a method is called "plain" below.


# %%
def build(method):
    keras.utils.set_random_seed(0)  # the same initial weights for all
    plain = keras.Sequential(
        [
            keras.Input((64,), name="image"),
            keras.layers.Dense(128, "relu", name="first"),
            keras.layers.Dense(128, "relu", name="second"),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    if method == "weight compander":
        return keras_reg.reparameterize(plain, keras_reg.layers.WeightCompander, a=0.35, b=0.4)
    if method == "weight normalization":
        return keras_reg.reparameterize(plain, keras_reg.layers.WeightNormalization)
    return plain


methods = ("plain", "weight compander", "weight normalization")
models = {method: build(method) for method in methods}
expected = models["plain"].predict(x_test, verbose=0)
for method, model in models.items():
    distance = np.abs(model.predict(x_test, verbose=0) - expected).max()
    kinds = ", ".join(type(layer).__name__ for layer in model.layers)
    print(f"{method}: {kinds}; largest difference of an output: {distance:.0e}")

# %% [markdown]
# ## Training
#
# Both methods change how far a step moves a weight, so each method needs its own learning rate. Near 0, the compander
# moves a weight $(a/b)^2$ times as far as plain training does. With the same rate for all, the comparison would mostly
# compare rates. Therefore each method gets the best of three rates on a part of the training set, and then trains on
# all of it.


# %%
def train(method, rate, x, y, epochs):
    model = build(method)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss, metrics=["accuracy"])
    history = model.fit(x, y, 64, epochs, validation_data=(x_test, y_test), verbose=0).history
    return model, history["val_accuracy"]


rates = (0.03, 0.1, 0.3) if epochs > 3 else (0.03,)
for method in methods:
    scores = {}
    for rate in rates:
        model, _ = train(method, rate, x[:1000], y[:1000], max(1, epochs // 2))
        scores[rate] = model.evaluate(x[1000:], y[1000:], verbose=0)[0]
    best = min(scores, key=scores.get)
    models[method], accuracy = train(method, best, x, y, epochs)
    print(f"{method}: learning rate {best}, accuracy on the test set {accuracy[-1]:.1%}")

# %% [markdown]
# ## How the weights have changed
#
# `fold` computes the weights once, and stores them in ordinary layers. The picture shows the kernels of these layers.

# %%
folded = {method: keras_reg.fold(model) if method != "plain" else model for method, model in models.items()}
bound = 0.35 * np.pi / 2
figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharey=True, layout="constrained")
for axis, (method, model) in zip(axes, folded.items()):
    weights = np.concatenate([np.ravel(layer.get_weights()[0]) for layer in model.layers])
    axis.hist(weights, bins=80, log=True)
    axis.set(title=method, xlabel="weight")
    print(f"{method}: largest weight {np.abs(weights).max():.2f}, mean of squares {np.mean(weights**2):.4f}")
for side in (-bound, bound):
    axes[1].axvline(side, color="black", linestyle=":")
plt.show()

# %% [markdown]
# ## Folding for export
#
# The folded model makes the same predictions. Its file loads without this package, because it contains only Keras
# layers.

# %%
x_all = np.concatenate([x, x_test])
with tempfile.TemporaryDirectory() as folder:
    for method in methods[1:]:
        file = pathlib.Path(folder, "model.keras")
        folded[method].save(file)
        loaded = keras.saving.load_model(file)
        distance = np.abs(loaded.predict(x_all, verbose=0) - models[method].predict(x_all, verbose=0)).max()
        modules = {type(layer).__module__.split(".")[0] for layer in loaded.layers}
        print(f"{method}: layers of {modules}, largest difference of an output {distance:.0e}, ", end="")
        print(f"{models[method].count_params()} numbers before and {loaded.count_params()} after")

# %% [markdown]
# ## What to remember
#
# - No method is better than plain training here beyond what another seed would change. (For both methods, the best rate
#   is the largest that was tried, so the comparison is not complete.) The cards in `docs/` have tables over seeds,
#   which show the same for digits and for 10,000 images of CIFAR-10.
# - The compander bounds the weights: this is its one certain effect. Its mean of squares is not smaller, because the
#   mass moves from the tails into the middle.
# - Adam cancels the slope of the compander in its steps. `keras_reg.optimizers.CompanderScaled` restores it.
# - Weight normalization is for networks without batch normalization. `fold` merges its lengths into the kernels, so
#   that the folded model has slightly fewer numbers.
# - Quantize, convert and export after folding.
