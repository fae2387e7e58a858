"""Tests of the proximal step as a constraint: it gives exact zeros during training, in every mode."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.constraints import ProximalGroupEnvelope
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

RELEVANT = [1, 4, 6]


def train(strength, **arguments):
    """Returns the kernel of a linear regression after 100 steps, and whether the loss has decreased.

    The regression has 8 inputs, of which 3 matter.
    """
    rng = np.random.default_rng(0)
    # The inputs are uncorrelated.
    inputs = 4 * np.linalg.qr(rng.normal(size=(16, 8)))[0]
    outputs = inputs[:, RELEVANT] @ rng.normal(size=(3, 2))
    step = ProximalGroupEnvelope(strength, num_groups=3, axis=0)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, use_bias=False, kernel_constraint=step)])
    model.set_weights([rng.normal(size=(8, 2)).astype("float32")])
    model.compile(keras.optimizers.SGD(0.1), "mse", **arguments)
    x, y = (np.tile(array, (100, 1)).astype("float32") for array in (inputs, outputs))
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    return model.get_weights()[0], model.evaluate(x, y, verbose=0) < 0.1 * before


@ON_TORCH
def test_proximal_group_envelope_zeroes_irrelevant_inputs(compile_modes):
    for mode in compile_modes:
        kernel, learned = train(0.01, **mode)
        assert np.flatnonzero(np.linalg.norm(kernel, axis=1)).tolist() == RELEVANT
        assert learned


@ON_TORCH
def test_proximal_group_envelope_without_strength_zeroes_no_input():
    kernel, learned = train(0.0)
    assert kernel.all()
    assert learned


@NOT_ON_JAX
def test_proximal_group_envelope_gives_equal_groups_equal_shares():
    step = keras.ops.convert_to_numpy(ProximalGroupEnvelope(1.0, num_groups=1)(np.ones((2, 4), "float32")))
    np.testing.assert_allclose(step, np.full((2, 4), 0.25 / 1.25), rtol=1e-6)


def test_proximal_group_envelope_rejects_missing_axis():
    with pytest.raises(ValueError, match="Received: axis=-3"):
        ProximalGroupEnvelope(0.1, num_groups=2, axis=-3)(np.zeros((2, 2), "float32"))
