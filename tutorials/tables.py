# %% [markdown]
# # Tables without labels: T-JEPA and regularization tokens
#
# T-JEPA ([arXiv 2410.05016](https://arxiv.org/abs/2410.05016)) uses some columns of a row to predict how a slow copy of
# its own encoder represents other columns. It needs no labels. Such a model can cheat: if all rows have the same
# representation, the prediction is easy. Regularization tokens are learned vectors that are added next to the columns.
# They are said to prevent this collapse. `CollapseMonitor` shows whether it happens.
#
# The table has 569 biopsies, benign or malignant, with 30 measured columns.

# %%
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import keras_reg

epochs = int(os.environ.get("TUTORIAL_EPOCHS", 30))

x, y = load_breast_cancer(return_X_y=True)
x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
scale = StandardScaler().fit(x)
x, x_test = scale.transform(x).astype("float32"), scale.transform(x_test).astype("float32")
print(f"{len(x)} rows to train on, {len(x_test)} to test")

# %% [markdown]
# ## Three models: without a token, with one, with three
#
# Everything else is equal. One epoch of Keras is eight passes over the data here, because the table is so small.

# %%
rows = np.concatenate([x] * 8)


def train(num_tokens):
    keras.utils.set_random_seed(0)
    jepa = keras_reg.models.TabularJEPA(
        keras_reg.models.FeatureTokenizer(16, cardinalities=[0] * x.shape[1]),  # 0: a numeric column
        encoder=keras_reg.models.TransformerEncoder(16, num_layers=2, num_heads=2, hidden=32, dropout=0.0),
        predictor=keras_reg.models.TransformerEncoder(8, num_layers=1, num_heads=2, hidden=16, dropout=0.0),
        num_tokens=num_tokens,
        num_targets=2,
        seed=0,
    )
    jepa.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.0, clipvalue=1.0))
    monitor = keras_reg.callbacks.CollapseMonitor(jepa.encode, x_test)
    return jepa, jepa.fit(rows, batch_size=64, epochs=epochs, callbacks=[monitor], verbose=0).history


models = {num_tokens: train(num_tokens) for num_tokens in (0, 1, 3)}

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
for num_tokens, (_, history) in models.items():
    for axis, key in zip(axes, ("loss", "collapse_deviation", "collapse_rank")):
        axis.plot(history[key], label=f"{num_tokens} tokens")
        axis.set(title=key, xlabel="epoch")
axes[0].set_yscale("log")
axes[0].legend()
plt.show()

# %% [markdown]
# `collapse_deviation` measures how far the representations of the test rows are from each other. `collapse_rank`
# measures over how many directions they spread. A collapse would lower both, and the deviation would fall to 0.
#
# ## Few labels
#
# Representations that are learned without labels are useful because few labels are enough afterwards. A linear
# classifier gets the labels of 10, 20, 50 or all rows. It is trained on the columns without T-JEPA ("plain columns")
# and on the representations. The output shows the mean over ten draws of the rows.


# %%
def accuracy(train_features, test_features, count, draw):
    chosen, _ = train_test_split(np.arange(len(y)), train_size=count, stratify=y, random_state=draw)
    scale = StandardScaler().fit(train_features)
    probe = LogisticRegression(C=0.1, max_iter=2000).fit(scale.transform(train_features[chosen]), y[chosen])
    return probe.score(scale.transform(test_features), y_test)


features = {"plain columns": (x, x_test)}
for num_tokens, (jepa, _) in models.items():
    features[f"T-JEPA, {num_tokens} tokens"] = tuple(jepa.encode(part).reshape(len(part), -1) for part in (x, x_test))
counts, draws = (10, 20, 50, len(y) - 2), 10 if epochs > 3 else 2
scores = {
    name: {count: [accuracy(*parts, count, draw) for draw in range(draws)] for count in counts}
    for name, parts in features.items()
}
print(f"{'labels':18}" + "".join(f"{count:>16}" for count in counts))
for name, by_count in scores.items():
    print(f"{name:18}" + "".join(f"{np.mean(s):>9.3f} +- {np.std(s):.2f}" for s in by_count.values()))

# %% [markdown]
# ## Tokens in your own transformer
#
# `RegularizationTokens` inserts tokens in front of any sequence, and `DropTokens` removes them. Drop the tokens before
# you pool anything, and add position embeddings before you insert the tokens. Otherwise columns and positions are
# shifted by the number of tokens.

# %%
inputs = keras.Input((x.shape[1], 1))
columns = keras.layers.Dense(16)(inputs)
columns = keras_reg.layers.RegularizationTokens(3)(columns)
attended = keras.layers.MultiHeadAttention(2, 8)(columns, columns)
columns = keras_reg.layers.DropTokens(3)(keras.layers.Add()([columns, attended]))
classifier = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(columns)))
print([(type(layer).__name__, layer.output.shape) for layer in classifier.layers if "Token" in type(layer).__name__])

# %% [markdown]
# ## What to remember
#
# - Nothing collapsed here, with or without tokens: the deviation rises and stays high. The rank is lower with more
#   tokens. The paper says that tokens are needed, but this table does not show it.
# - A lower loss does not mean better representations: the three losses and the three rows of accuracies are in
#   different orders. This is why a monitor and a probe with labels are needed.
# - With few labels, the representations are at best slightly better than the plain columns, within the spread of the
#   draws. With all labels, they are equally good. On such small and easy tables, scaling the columns is enough.
#   docs/tabular_jepa.md has five splits of two tables, which show the same.
