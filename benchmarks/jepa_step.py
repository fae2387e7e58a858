"""Compares the step time of T-JEPA with that of supervised training of its encoder.

    KERAS_BACKEND=jax python benchmarks/jepa_step.py            # or tensorflow, torch
    KERAS_BACKEND=tensorflow python benchmarks/jepa_step.py --modes XLA --columns 28

Both take turns in one process, and both have the authors' sizes and AdamW. The supervised model is the tokenizer, the
transformer, the mean over columns and a dense layer. A ratio is formed in each round; the table shows the median of
the rounds, and their range.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import numpy as np
from step_time import Clock, modes

from keras_reg.models import FeatureTokenizer, TabularJEPA, TransformerEncoder

WIDTH, BATCH = 64, 64


def self_supervised(columns: int, dropout: float) -> keras.Model:
    encoder = TransformerEncoder(WIDTH, dropout=dropout)
    predictor = TransformerEncoder(WIDTH, num_layers=2, num_heads=4, dropout=dropout)
    return TabularJEPA(FeatureTokenizer(WIDTH, [0] * columns), encoder, predictor, seed=0)


def supervised(columns: int, dropout: float) -> keras.Model:
    inputs = keras.Input((columns,))
    x = TransformerEncoder(WIDTH, dropout=dropout)(FeatureTokenizer(WIDTH, [0] * columns)(inputs))
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling1D()(x)))


def seconds_per_step(columns: int, steps: int, mode: dict, labels: bool, dropout: float) -> float:
    """Returns the seconds per step of one round with a new model."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * steps, columns)).astype("float32")
    loss: Any = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if labels else None
    model = (supervised if labels else self_supervised)(columns, dropout)
    model.compile(keras.optimizers.AdamW(1e-3, clipvalue=1.0), loss, **mode)
    clock = Clock(steps, steps // 4)
    y = (rng.integers(0, 2, len(x)),) if labels else ()
    model.fit(x, *y, batch_size=BATCH, verbose=0, callbacks=[clock])
    keras.backend.clear_session()
    return clock.per_step[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps per round; the first quarter is not measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--columns", default="14,54")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--modes", default="", help="eager, graph, XLA (default: all compiled modes, or eager)")
    given = parser.parse_args()
    found = modes()
    chosen = [name for name in found if name in given.modes.split(",")]
    chosen = chosen or [name for name in found if name != "eager" or len(found) == 1]
    print("| backend | compiled | columns | supervised (ms/step) | T-JEPA (ms/step) | ratio | range |")
    print("|---|---|---|---|---|---|---|")
    for columns in map(int, given.columns.split(",")):
        for name in chosen:
            times = [
                [seconds_per_step(columns, given.steps, found[name], labels, given.dropout) for labels in (True, False)]
                for _ in range(given.rounds)
            ]
            plain, ours = 1e3 * np.transpose(times)
            ratios = ours / plain
            print(
                f"| {keras.backend.backend()} | {name} | {columns} | {np.median(plain):.1f} | {np.median(ours):.1f} "
                f"| {np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
