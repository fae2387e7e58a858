"""Trains T-JEPA without labels on a table of wines, and a linear classifier on its representations.

    python examples/tabular_jepa.py [epochs] [folder for the learning curves]

The script needs the extra `[compare]`, for the data and the picture.
"""

from __future__ import annotations

import pathlib
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from keras_reg.callbacks import CollapseMonitor
from keras_reg.models import FeatureTokenizer, TabularJEPA, TransformerEncoder


def main(epochs: int = 20, folder: str = ".") -> dict[str, float]:
    """Learns representations, plots the curves, and returns the accuracy on plain columns and on representations."""
    keras.utils.set_random_seed(0)
    x, y = load_wine(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
    scale = StandardScaler().fit(x)
    x, x_test = scale.transform(x).astype("float32"), scale.transform(x_test).astype("float32")

    jepa = TabularJEPA(
        FeatureTokenizer(16, cardinalities=[0] * x.shape[1]),
        encoder=TransformerEncoder(16, num_layers=2, num_heads=2, hidden=32, dropout=0.0),
        predictor=TransformerEncoder(8, num_layers=1, num_heads=2, hidden=16, dropout=0.0),
        num_tokens=1,
        num_targets=2,
        seed=0,
    )
    jepa.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.0, clipvalue=1.0))
    rows = np.concatenate([x] * 40)  # the table is small, so one epoch of Keras is 40 passes
    monitor = CollapseMonitor(jepa.encode, x_test)
    history = jepa.fit(rows, batch_size=64, epochs=epochs, validation_data=(x_test,), callbacks=[monitor]).history

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name in ("loss", "val_loss"):
        axes[0].plot(history[name], label=name)
    axes[0].legend()
    axes[1].plot(history["collapse_rank"], label="effective rank")
    axes[1].legend()
    for axis in axes:
        axis.set_xlabel("epoch")
    figure.savefig(pathlib.Path(folder, "tabular_jepa.png"))
    plt.close(figure)

    def accuracy(train: np.ndarray, test: np.ndarray) -> float:
        scale = StandardScaler().fit(train)
        probe = LogisticRegression(C=0.1, max_iter=5000).fit(scale.transform(train), y)
        return float(probe.score(scale.transform(test), y_test))

    features = [jepa.encode(part).reshape(len(part), -1) for part in (x, x_test)]
    return {"plain columns": accuracy(x, x_test), "representations": accuracy(*features)}


if __name__ == "__main__":
    for name, value in main(*map(int, sys.argv[1:2]), *sys.argv[2:3]).items():
        print(f"linear classifier on {name}: {100 * value:.1f} %")
