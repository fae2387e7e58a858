# %% [markdown]
# # Dropout and weight decay that tune themselves
#
# How much dropout, how much weight decay? The usual answer is a search: one training for each guess.
# `SelfTuning` ([Delta-STN, arXiv 2010.13514](https://arxiv.org/abs/2010.13514)) moves both while one training runs, down
# the gradient of the loss on data that the network does not train on.

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
# ## Three sets of data
#
# The weights are fitted to the first, the hyperparameters to the second. The third says how good the network is, and
# nothing is fitted to it.

# %%
images, labels = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
images, labels = (images[order] / 16.0).astype("float32"), labels[order]
x, x_tune, x_test = images[:250], images[250:750], images[750:]
y, y_tune, y_test = labels[:250], labels[250:750], labels[750:]

# %% [markdown]
# ## A network with hyperparameters that move
#
# `tune.Float` is a number with bounds. Layers and regularizers hold it in the place of a constant; `log=True` moves it by
# factors.

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
    """Cross-entropy without penalties, and accuracy, on the test images."""
    logits = model.predict(x_test, verbose=0)
    return float(loss(y_test, logits)), float(np.mean(logits.argmax(axis=1) == y_test))


# %% [markdown]
# From two bad guesses, one far too weak and one too strong, once with the guess as a constant and once tuned:

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
# ## What was found, on all data
#
# The tuning images were held out only to tune. What was found is a schedule; `ReplaySchedule` runs it in a plain training
# on both parts.

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
# - Started too strong, the network is repaired while it trains: its test loss is about half that of the constant. Started
#   too weak, the tuning loss is nearly flat, little moves, and little is won; the two runs do not find the same values.
# - A usual guess, on all data, is as good here. With one or two strengths and trainings of seconds, a search does the same
#   (docs/self_tuning.md has it measured). Self-tuning is for many hyperparameters and long trainings.
# - From far too strong there is no way back: where a network has died of its weight decay, no gradient says so.
# - Do not report the loss on tuning data: hyperparameters were fitted to it.
