"""Rule 5: two replicas with different data train as one replica does with the joined batch."""

from __future__ import annotations

import keras
import numpy as np

from tests.conformance.case import SAMPLES, Case, Trial, assert_same
from tests.conformance.rules import rule
from tests.support.replicas import two_replicas

BACKEND = keras.backend.backend()


@rule(5, own_process=True, backends=("tensorflow", "jax"))
def two_replicas_equal_one(case: Case) -> None:
    # An optimizer remembers gradients, which are those of plain training: see below.
    has_odd = BACKEND == "tensorflow" and case.kind != "optimizer" and case.state is not None
    one, odd_one = trained(case, 60), trained(case, 57, learning_rate=0.0) if has_odd else None
    with two_replicas():
        two = trained(case, 60)
        odd_two = trained(case, 57, learning_rate=0.0) if has_odd else None
    assert_same(two, one, "two replicas are not one", 1e-5)
    if odd_one is None or odd_two is None:
        return
    # A last batch of one sample: JAX refuses it. TensorFlow leaves one replica without any and Keras weights both
    # alike, so that plain training is not exact, nor are the logs; but what is remembered is, if the weights stand.
    states = [{name: result[name] for name in result if not name.startswith("log")} for result in (odd_two, odd_one)]
    assert_same(*states, "two replicas are not one with a batch for one", 1e-5)


def trained(case: Case, rows: int, learning_rate: float = 0.3) -> dict[str, np.ndarray]:
    """Trains twice on samples that come several times, each time elsewhere: they move from replica to replica.

    The last batch is ragged: 60 samples in batches of 8 leave 4, which both backends halve.
    """
    trial = Trial(case, optimizer="sgd")
    trial.model.optimizer.learning_rate = learning_rate
    order = np.concatenate([np.random.default_rng(seed).permutation(SAMPLES) for seed in range(3)])[:rows]
    ids = order.astype("int32")
    for row, twin in ((9, 14), (17, 18), (26, 31)):  # an id twice in a batch: in both halves, in one, in both
        ids[row] = ids[twin]
    ids[5] = ids[30] = -1
    trial.x, trial.y = {"features": trial.x["features"][order], "sample_id": ids}, trial.y[order]
    weights = np.random.default_rng(3).uniform(0.2, 2.0, rows).astype("float32")
    logs = trial.fit(sample_weight=weights).history
    state = {f"state {name}": value for name, value in trial.state().items()}
    return {**trial.weights(), **state, **{f"log {name}": np.array(values) for name, values in logs.items()}}
