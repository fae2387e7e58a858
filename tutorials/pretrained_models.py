# %% [markdown]
# # Regularizing an existing model
#
# Keras accepts regularizers when a layer is created, but the layers of a pretrained model already exist.
# `apply_regularizer` adds regularizers to them. This tutorial covers three kinds of regularization:
#
# - anchors that hold the old weights while the model learns something new;
# - orthogonality;
# - sparsity that allows whole filters to be removed.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 30))
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

images, labels = load_digits(return_X_y=True)
images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
x, x_test, y, y_test = train_test_split(images, labels, test_size=500, stratify=labels, random_state=0)

# %% [markdown]
# ## The pretrained model
#
# The model recognizes handwritten digits.

# %%
keras.utils.set_random_seed(0)
pretrained = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(100, "relu"),
        keras.layers.Dense(100, "relu"),
        keras.layers.Dense(10),
    ]
)
flat, flat_test = x.reshape(-1, 64), x_test.reshape(-1, 64)
pretrained.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
pretrained.fit(flat, y, 32, epochs, verbose=0)
print(f"accuracy on the test images: {pretrained.evaluate(flat_test, y_test, verbose=0)[1]:.1%}")

# %% [markdown]
# ## Anchors: learning something new without forgetting the old
#
# Now the images are rotated by a quarter turn, and the model is trained on the rotated images only. Training without a
# method ("plain") forgets how to read upright images. [`AnchoredL2`](https://arxiv.org/abs/1802.01483) holds all
# weights near their old values. [`ElasticWeightConsolidation`](https://arxiv.org/abs/1612.00796) holds the weights that
# matter for the old images. The strengths are those that suited a similar task (docs/few_samples.md). They were not
# tuned here.

# %%
turned, turned_test = (np.rot90(part, axes=(1, 2)).reshape(-1, 64).copy() for part in (x, x_test))


def fine_tune(method):
    keras.utils.set_random_seed(1)
    model = keras.models.clone_model(pretrained)
    model.set_weights(pretrained.get_weights())
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    if method == "weight decay":
        keras_reg.apply_regularizer(model, keras.regularizers.L2(1e-4))
    if method == "anchored L2":
        keras_reg.apply_regularizer(model, keras_reg.regularizers.AnchoredL2(0.1), variables=["kernel", "bias"])
    if method == "elastic":
        fisher = keras_reg.training.fisher_diagonal(model, (flat, y), labels="predicted")
        elastic = keras_reg.regularizers.ElasticWeightConsolidation(fisher, strength=1000.0)
        keras_reg.apply_regularizer(model, elastic, variables=["kernel", "bias"])
    old = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: accuracy.append(model.evaluate(flat_test, y_test, verbose=0)[1])
    )
    accuracy = []
    history = model.fit(turned, y, 32, epochs, validation_data=(turned_test, y_test), callbacks=[old], verbose=0)
    return accuracy, history.history["val_accuracy"]


figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for method in ("plain", "weight decay", "anchored L2", "elastic"):
    old, new = fine_tune(method)
    print(f"{method:14} upright images {old[-1]:.1%}, turned images {new[-1]:.1%}")
    axes[0].plot(old, label=method)
    axes[1].plot(new)
axes[0].set(title="upright images (not trained on)", xlabel="epoch", ylabel="test accuracy")
axes[1].set(title="turned images", xlabel="epoch")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Orthogonality
#
# A pretrained convolutional network gets a penalty that pulls each layer towards one that preserves lengths. The
# strides are read from the layers. The singular values of the layers show what the penalty does. The printed accuracies
# show what it gains.


# %%
def convolutions():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1))])
    for index, width in enumerate((16, 32, 32)):
        model.add(keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"convolution_{index}"))
        model.add(keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=keras.initializers.Constant(0.5)))
        model.add(keras.layers.ReLU())
        if index == 0:
            model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(10))
    return model


def fit(model, epochs, rate=0.05, callbacks=()):
    steps = epochs * -(-len(x) // 64)
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(rate, steps), momentum=0.9)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(x, y, 64, epochs, verbose=0, callbacks=list(callbacks))
    return model.evaluate(x_test, y_test, verbose=0)[1]


def singular_values(model, name):
    """Returns the singular values of a convolution with periodic borders, from its matrix at each frequency."""
    kernel = keras.ops.convert_to_numpy(model.get_layer(name).kernel)
    return np.sort(np.linalg.svd(np.fft.fft2(kernel, (8, 8), axes=(0, 1)), compute_uv=False).ravel())[::-1]


network = convolutions()
print(f"trained: {fit(network, epochs):.1%}")
before = singular_values(network, "convolution_1")
keras_reg.apply_regularizer(network, keras_reg.regularizers.OrthogonalConvolution(0.01), exclude="convolution_0")
print(f"trained on with the penalty: {fit(network, epochs // 2 or 1):.1%}")
after = singular_values(network, "convolution_1")
for name, values in {"before": before, "after": after}.items():
    print(f"{name}: singular values of the second convolution from {values[-1]:.2f} to {values[0]:.2f}")

# %%
figure, axis = plt.subplots(figsize=(5, 2.8), layout="constrained")
axis.plot(before, label="trained")
axis.plot(after, label="trained on with OrthogonalConvolution")
axis.set(title="singular values of the second convolution", xlabel="rank", ylim=(0, None))
axis.legend()
plt.show()

# %% [markdown]
# ## Structured sparsity: a smaller model
#
# `SparsityMask` ([arXiv 2201.06776](https://arxiv.org/abs/2201.06776)) pulls the batch normalization scales towards 0.
# From the middle of the training on, it pulls only the scales that are small by then. `prune` creates a smaller model
# without the filters of these scales. Some more epochs then train the smaller model, to recover what pruning has lost.
# For comparison, a network of the pruned size is trained from new weights.

# %%
large = convolutions()
callback = keras_reg.callbacks.SparsityMask(mask_epoch=epochs // 2, strength=0.02)
trained = fit(large, epochs, 0.1, [callback])
small = keras_reg.prune(large, threshold=0.01)
small.compile(loss=loss, metrics=["accuracy"])
pruned = small.evaluate(x_test, y_test, verbose=0)[1]
fine_tuned = fit(small, epochs // 2 or 1, 0.01)
widths = [layer.filters for layer in small.layers if isinstance(layer, keras.layers.Conv2D)]
print(f"filters 16, 32, 32 -> {widths}; parameters {large.count_params()} -> {small.count_params()}")
print(f"test accuracy: sparse {trained:.1%}, pruned {pruned:.1%}, trained on {fine_tuned:.1%}")

fresh = keras.models.clone_model(small)
print(f"the small network from new weights: {fit(fresh, epochs + epochs // 2, 0.1):.1%}")

# %% [markdown]
# ## What to remember
#
# - Anchors are for learning something new without the old data. Elastic weight consolidation keeps nearly all of the
#   old task here, and gives up a little of the new one. Anchoring all weights equally keeps less of the old task, and
#   costs more of the new one. Ordinary weight decay pulls the weights to 0, away from what was learned, and is worse
#   than no method.
# - The orthogonality penalty moves the singular values towards 1. Its effect on the accuracy is within what another
#   seed would change (docs/few_samples.md).
# - Pruning gives an equally good network of a fraction of the size, but a network of that size from new weights is
#   equally good too. Here pruning finds the size, and not better weights (over three splits: docs/pruning.md).
# - After loading a file, apply regularizers again where the table in docs/regularizing_models.md says so.
