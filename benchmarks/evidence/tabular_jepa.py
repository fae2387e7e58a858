"""Evaluates T-JEPA's features on two bundled tables, with 0, 1 and 3 [REG] tokens.

    KERAS_BACKEND=jax python benchmarks/evidence/tabular_jepa.py

Each seed splits a table differently (70 % to train, 30 % to test, stratified by class), and scales columns by the
training part. The features are learned from the training rows alone, and are the input of a linear probe and an MLP.
They are compared with both on the plain columns, and with gradient-boosted trees. Nothing was tuned on the test rows.
Rows are added to `tabular_jepa.csv` beside this file as soon as they are computed; rows in this file are not computed
again. `--table` prints the means.
"""

from __future__ import annotations

import argparse
import csv
import pathlib
import warnings

import keras
import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from keras_reg import ops
from keras_reg.models import FeatureTokenizer, TabularJEPA, TransformerEncoder
from keras_reg.ops.collapse import feature_deviation, uniformity

FILE = pathlib.Path(__file__).with_suffix(".csv")
DATA = {"wine": load_wine, "breast_cancer": load_breast_cancer}
FIELDS = ("data", "seed", "features", "steps", "linear", "mlp", "trees", "deviation", "effective_rank", "uniformity")
TOKENS, BATCH, STEPS_PER_EPOCH = (0, 1, 3), 64, 100


def split(name: str, seed: int) -> tuple[np.ndarray, ...]:
    x, y = DATA[name](return_X_y=True)
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    scale = StandardScaler().fit(train)
    return scale.transform(train).astype("float32"), scale.transform(test).astype("float32"), y_train, y_test


def scores(train: np.ndarray, test: np.ndarray, y_train: np.ndarray, y_test: np.ndarray, seed: int) -> dict[str, float]:
    scale = StandardScaler().fit(train)
    train, test = scale.transform(train), scale.transform(test)
    heads = {
        "linear": LogisticRegression(C=0.1, max_iter=5000),
        "mlp": MLPClassifier((64,), alpha=1e-2, max_iter=300, random_state=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning that the MLP has not converged
        return {name: head.fit(train, y_train).score(test, y_test) for name, head in heads.items()}


def small_jepa(columns: int, tokens: int) -> TabularJEPA:
    tokenizer = FeatureTokenizer(16, [0] * columns)
    encoder = TransformerEncoder(16, num_layers=2, num_heads=2, hidden=32, dropout=0.0)
    predictor = TransformerEncoder(8, num_layers=1, num_heads=2, hidden=16, dropout=0.0)
    return TabularJEPA(tokenizer, encoder, predictor, num_tokens=tokens, num_targets=2, seed=0)


class Pretraining:
    """Keeps one compiled model, because compiling takes longer than training, and resets its weights for each seed."""

    def __init__(self, columns: int, tokens: int) -> None:
        self.columns, self.tokens = columns, tokens
        self.model = small_jepa(columns, tokens)
        self.model.compile(keras.optimizers.AdamW(1e-3, weight_decay=0.0, clipvalue=1.0))
        self.model.optimizer.build(self.model.trainable_variables)
        self.start = [np.array(v) for v in map(keras.ops.convert_to_numpy, self.model.optimizer.variables)]

    def features(self, train: np.ndarray, test: np.ndarray, seed: int, steps: int) -> tuple[np.ndarray, ...]:
        keras.utils.set_random_seed(seed)
        self.model.set_weights(small_jepa(self.columns, self.tokens).get_weights())
        self.model.seeds.state.assign(np.array([seed, 0], "uint32"))
        for variable, value in zip(self.model.optimizer.variables, self.start, strict=True):
            variable.assign(value)
        rng = np.random.default_rng(seed)
        # The table is small, so an epoch of `fit` passes over it many times.
        rows = np.concatenate([rng.permutation(len(train)) for _ in range(1 + BATCH * STEPS_PER_EPOCH // len(train))])
        rows = rows[: BATCH * STEPS_PER_EPOCH]
        self.model.fit(train[rows], batch_size=BATCH, epochs=steps // STEPS_PER_EPOCH, verbose=0)
        return self.model.encode(train), self.model.encode(test)


def collapse(features: np.ndarray) -> dict[str, float]:
    flat = features.reshape(len(features), -1)
    return {
        "deviation": float(np.mean(keras.ops.convert_to_numpy(feature_deviation(flat)))),
        "effective_rank": float(ops.effective_rank(flat)),
        "uniformity": float(uniformity(flat)),
    }


def known() -> list[dict[str, str]]:
    if not FILE.exists():
        return []
    with FILE.open() as lines:
        return list(csv.DictReader(lines))


def write(row: dict[str, object]) -> None:
    new = not FILE.exists()
    with FILE.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, FIELDS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})


def measure(seeds: int, steps: int) -> None:
    done = {(row["data"], row["seed"], row["features"]) for row in known()}
    for name in DATA:
        for seed in range(seeds):
            if (name, str(seed), "plain") in done:
                continue
            train, test, y_train, y_test = split(name, seed)
            trees = HistGradientBoostingClassifier(random_state=seed).fit(train, y_train).score(test, y_test)
            row = {"data": name, "seed": seed, "features": "plain", **collapse(test), "trees": float(trees)}
            write({**row, **scores(train, test, y_train, y_test, seed)})
        for tokens in TOKENS:
            pretraining = None
            for seed in range(seeds):
                if (name, str(seed), f"jepa-{tokens}") in done:
                    continue
                train, test, y_train, y_test = split(name, seed)
                pretraining = pretraining or Pretraining(train.shape[1], tokens)
                before, after = pretraining.features(train, test, seed, steps)
                row = {"data": name, "seed": seed, "features": f"jepa-{tokens}", "steps": steps, **collapse(after)}
                flat = (before.reshape(len(before), -1), after.reshape(len(after), -1))
                write({**row, **scores(*flat, y_train, y_test, seed)})
                print(name, tokens, seed, flush=True)


def table() -> None:
    rows = known()
    for name in DATA:
        for features in ("plain", *(f"jepa-{tokens}" for tokens in TOKENS)):
            mine = [row for row in rows if (row["data"], row["features"]) == (name, features)]
            cells = []
            for field in FIELDS[4:]:
                values = np.array([float(row[field]) for row in mine if row[field]])
                spread = values.std(ddof=1) if len(values) > 1 else 0.0
                cells.append(f"{values.mean():.3f} ± {spread:.3f}" if len(values) else "-")
            print(f"| {name} | {features} | {len(mine)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        measure(given.seeds, given.steps)
    table()
