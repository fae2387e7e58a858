# %% [markdown]
# # Tuning dropout and weight decay during training
#
# How much dropout and how much weight decay does a network need? The usual answer is a search, with one training run
# for each guess. `SelfTuning` ([Delta-STN, arXiv 2010.13514](https://arxiv.org/abs/2010.13514)) changes both during one
# training run. They move down the gradient of the loss on data that the network does not train on.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 120))

# %% [markdown]
# ## Three disjoint datasets
#
# The weights are fitted to the first dataset, and the hyperparameters to the second. The third one measures how good
# the network is, and nothing is fitted to it.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = (images[order] / 16.0).astype("float32"), labels[order]
x, x_tune, x_test = images[:250], images[250:750], images[750:]
y, y_tune, y_test = labels[:250], labels[250:750], labels[750:]

# %% [markdown]
# ## A network with hyperparameters that change
#
# `tune.Float` is a number with bounds. Layers and regularizers accept it in place of a constant. With `log=True`, it
# changes by factors.

# %%
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_model(dropout, l2):
    keras.utils.set_random_seed(0)
    rate = keras_reg.tune.Float("dropout", init=dropout, low=0.0, high=0.9)
    decay = keras_reg.tune.Float("l2", init=l2, low=0.0, log=True)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, "relu", kernel_regularizer=keras_reg.regularizers.TunableL2(decay)),
            keras_reg.layers.TunableDropout(rate, seed=0),
            keras.layers.Dense(128, "relu", kernel_regularizer=keras_reg.regularizers.TunableL2(decay)),
            keras.layers.Dense(10, kernel_regularizer=keras_reg.regularizers.TunableL2(decay)),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss)
    return model


def scores(model):
    """Returns the cross-entropy without penalties, and the accuracy, on the test images."""
    logits = model.predict(x_test, verbose=0)
    return float(loss(y_test, logits)), float(np.mean(logits.argmax(axis=1) == y_test))


# %% [markdown]
# The training starts from two bad guesses, one far too weak and one too strong. For each guess, one network keeps it as
# a constant and one network tunes it:

# %%
starts = {"weak": (0.02, 1e-6), "strong": (0.7, 1e-2)}
histories, tunings = {}, {}
for name, start in starts.items():
    constant = make_model(*start)
    constant.fit(x, y, 50, epochs, verbose=0)
    print(f"{name}, constant:  test loss {scores(constant)[0]:.3f}, accuracy {scores(constant)[1]:.1%}")
    model = make_model(*start)
    tunings[name] = keras_reg.callbacks.SelfTuning((x_tune, y_tune), learning_rate=0.03, batch_size=500, seed=0)
    histories[name] = model.fit(x, y, 50, epochs, callbacks=[tunings[name]], verbose=0).history
    found = ", ".join(f"{key} {value:.2g}" for key, value in tunings[name].values.items())
    print(f"{name}, self-tuned: test loss {scores(model)[0]:.3f}, accuracy {scores(model)[1]:.1%}; found {found}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for name, history in histories.items():
    for axis, key in zip(axes, ("dropout", "l2", "tuning_loss")):
        axis.plot(history[key], label=f"started too {name}")
        axis.set(title=key, xlabel="epoch")
axes[1].set_yscale("log")
axes[2].set_yscale("log")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Replaying the schedule on all data
#
# The tuning images were held out only for tuning. The result of tuning is a schedule. `ReplaySchedule` applies it on
# both parts of the data, in a training run without tuning.

# %%
x_both, y_both = np.concatenate([x, x_tune]), np.concatenate([y, y_tune])
for name in starts:
    model = make_model(*starts[name])
    replay = keras_reg.callbacks.ReplaySchedule(tunings[name].schedule)
    model.fit(x_both, y_both, 50, epochs, callbacks=[replay], verbose=0)
    print(f"{name}, replayed on 750 images: test loss {scores(model)[0]:.3f}, accuracy {scores(model)[1]:.1%}")
model = make_model(0.2, 1e-4)
model.fit(x_both, y_both, 50, epochs, verbose=0)
print(f"a usual guess (0.2, 0.0001), 750 images: test loss {scores(model)[0]:.3f}, accuracy {scores(model)[1]:.1%}")

# %% [markdown]
# ## What to remember
#
# - If the values start too strong, self-tuning repairs the network while it trains: its test loss is about half that of
#   the constant values. If they start too weak, the tuning loss is nearly flat, so they move little, and little is
#   gained. The two runs do not find the same values.
# - A usual guess, trained on all data, is equally good here. With one or two strengths and training runs of seconds, a
#   search does the same (docs/self_tuning.md has measurements). Self-tuning is for many hyperparameters and long
#   training runs.
# - Self-tuning cannot recover from values that are far too strong: once weight decay has ruined a network, no gradient
#   shows this.
# - Do not report the loss on the tuning data, because the hyperparameters were fitted to it.
