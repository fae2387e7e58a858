"""Rule 5: two replicas with different data train like one replica with the joined batch."""

from __future__ import annotations

import keras
import numpy as np

from tests.conformance.case import SAMPLES, Case, Trial, assert_same
from tests.conformance.rules import rule
from tests.support.replicas import two_replicas

BACKEND = keras.backend.backend()


@rule(5, own_process=True, backends=("tensorflow", "jax"))
def two_replicas_equal_one(case: Case) -> None:
    # An optimizer wrapper stores gradients, which differ without the method too: see below.
    has_odd = BACKEND == "tensorflow" and case.kind != "optimizer" and case.state is not None
    one, odd_one = trained(case, 60), trained(case, 57, learning_rate=0.0) if has_odd else None
    with two_replicas():
        two = trained(case, 60)
        odd_two = trained(case, 57, learning_rate=0.0) if has_odd else None
    assert_same(two, one, "two replicas differ from one", 1e-5)
    if odd_one is None or odd_two is None:
        return
    # The last batch has one sample, which JAX rejects. On TensorFlow, one replica gets no sample, and Keras weights
    # both replicas equally. Weights and logs are therefore not exact, even without the method. With a learning rate of
    # 0, the state is.
    states = [{name: result[name] for name in result if not name.startswith("log")} for result in (odd_two, odd_one)]
    assert_same(*states, "two replicas differ from one if a batch is for one", 1e-5)


def trained(case: Case, rows: int, learning_rate: float = 0.3) -> dict[str, np.ndarray]:
    """Trains for two epochs on samples that occur several times, on different replicas.

    The last batch is smaller: 60 samples in batches of 8 leave 4, which both backends halve.
    """
    trial = Trial(case, optimizer="sgd")
    trial.model.optimizer.learning_rate = learning_rate
    order = np.concatenate([np.random.default_rng(seed).permutation(SAMPLES) for seed in range(3)])[:rows]
    ids = order.astype("int32")
    # These ids occur twice in a batch: in both halves, in one half, and in both halves.
    for row, twin in ((9, 14), (17, 18), (26, 31)):
        ids[row] = ids[twin]
    ids[5] = ids[30] = -1
    trial.x, trial.y = {"features": trial.x["features"][order], "sample_id": ids}, trial.y[order]
    weights = np.random.default_rng(3).uniform(0.2, 2.0, rows).astype("float32")
    logs = trial.fit(sample_weight=weights).history
    state = {f"state {name}": value for name, value in trial.state().items()}
    return {**trial.weights(), **state, **{f"log {name}": np.array(values) for name, values in logs.items()}}
