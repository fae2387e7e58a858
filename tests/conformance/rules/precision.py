"""Rule 7: training works with 16-bit floats, and terms and memories stay in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from tests.conformance.case import Case, Trial, recorded
from tests.conformance.rules import rule


@contextlib.contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def half_precision(case: Case, name: str) -> None:
    with policy(name):
        half = Trial(case, optimizer="sgd")
        logs = half.fit(epochs=4).history
        certain = Trial(case, case.half_precision, optimizer="sgd")
        # Large weights give probabilities of 0 and 1.
        certain.model.set_weights([60 * value for value in certain.model.get_weights()])
        extreme = certain.fit().history
    expected = recorded(case, "float32", lambda: Trial(case, optimizer="sgd").fit(epochs=4).history)
    for key, values in logs.items():
        assert np.isfinite([*values, *extreme[key]]).all(), f"{key}: {values}, {extreme[key]}"
    for name, value in half.state().items():
        assert value.dtype in (np.float32, np.int32, bool), f"{name} is stored as {value.dtype}"
    for trial in (half, certain):
        assert all(np.isfinite(v).all() for v in {**trial.weights(), **trial.state()}.values()), "state is not finite"
    for key in ("loss", *case.terms):
        np.testing.assert_allclose(logs[key], expected[key], rtol=0.1, atol=0.03, err_msg=f"far from float32: {key}")


@rule(7, compiled_on=("tensorflow",))
def mixed_float16(case: Case) -> None:
    half_precision(case, "mixed_float16")


@rule(7, compiled_on=("jax",))
def mixed_bfloat16(case: Case) -> None:
    """Trains without the loss scaling that float16 needs. TPUs compute in bfloat16."""
    half_precision(case, "mixed_bfloat16")
