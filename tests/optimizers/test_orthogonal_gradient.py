"""Tests of the steps of the wrapped optimizer with projected gradients."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.optimizers import CompanderScaled, OrthogonalGradient
from tests.support.tiers import NOT_ON_JAX

OPTIMIZERS = keras.optimizers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 4)).astype("float32")
Y = RNG.normal(size=(8, 3)).astype("float32")
KERNEL = RNG.normal(size=(4, 3)).astype("float32")


def make_linear(optimizer, **arguments):
    dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.Constant(KERNEL), **arguments)
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile(optimizer, "mse")
    return model


def fit(model, epochs=4, **arguments):
    model.fit(X, Y, epochs=epochs, batch_size=8, shuffle=False, verbose=0, **arguments)
    return model.get_weights()


def simulate(steps, decay=0.0, clip=np.inf, rate=0.1):
    """Runs gradient descent in NumPy on the squared error, with projected gradients and decoupled decay."""
    weights = [KERNEL.astype("float64"), np.zeros(3)]
    for _ in range(steps):
        error = 2 * (X @ weights[0] + weights[1] - Y) / Y.size
        for index, gradient in enumerate([X.T @ error, error.sum(0)]):
            w = weights[index]
            rest = gradient - np.sum(w * gradient) / max(np.sum(w * w), 1e-30) * w
            rest *= np.linalg.norm(gradient) / np.linalg.norm(rest)
            rest *= min(1.0, clip / np.linalg.norm(rest))
            weights[index] = w - rate * decay * w - rate * rest
    return weights


@NOT_ON_JAX
@pytest.mark.parametrize("arguments", [{}, {"weight_decay": 0.5}, {"clipnorm": 0.2}])
def test_orthogonal_gradient_fit_equals_simulation(arguments, compile_modes):
    """Checks that the decay is not projected, and that the projected gradient is clipped."""
    expected = simulate(4, arguments.get("weight_decay", 0.0), arguments.get("clipnorm", np.inf))
    for mode in compile_modes:
        model = make_linear(OrthogonalGradient(OPTIMIZERS.SGD(0.1, **arguments)))
        model.compile(model.optimizer, "mse", **mode)
        for got, value in zip(fit(model), expected, strict=True):
            np.testing.assert_allclose(got, value, rtol=1e-5, atol=1e-6, err_msg=str(mode))


def test_orthogonal_gradient_cancels_l2_but_keeps_weight_decay():
    """Trains with a gradient that comes only from the regularizer. The projection removes it completely."""

    def train(optimizer, **arguments):
        model = make_linear(optimizer, use_bias=False, **arguments)
        model.fit(np.zeros_like(X), np.zeros_like(Y), verbose=0)
        return model.get_weights()[0]

    kept = train(OrthogonalGradient(OPTIMIZERS.SGD(0.1)), kernel_regularizer=keras.regularizers.L2(0.5))
    np.testing.assert_array_equal(kept, KERNEL)
    decayed = train(OrthogonalGradient(OPTIMIZERS.SGD(0.1, weight_decay=0.5)))
    np.testing.assert_allclose(decayed, 0.95 * KERNEL, rtol=1e-6)


def test_orthogonal_gradient_does_not_project_scalar_variables():
    def train(optimizer):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        model.set_weights([np.array([[0.37]], "float32")])
        model.compile(optimizer, "mse")
        model.fit(X[:, :1], Y[:, :1], verbose=0)
        return model.get_weights()[0]

    np.testing.assert_array_equal(train(OrthogonalGradient(OPTIMIZERS.SGD(0.1))), train(OPTIMIZERS.SGD(0.1)))


def test_orthogonal_gradient_trains_embeddings_and_averages_weights():
    """Checks gradients that contain only some rows, as for embeddings on TensorFlow, and averages of weights."""
    optimizer = OrthogonalGradient(OPTIMIZERS.Adam(0.1, use_ema=True, ema_momentum=0.5))
    model = keras.Sequential([keras.Input((2,), dtype="int32"), keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    model.compile(optimizer, "mse")
    before = model.get_weights()[0]
    model.fit(np.array([[0, 1], [3, 1]]), RNG.normal(size=(2, 6)), epochs=2, verbose=0)
    after = model.get_weights()[0]
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() > 0.01


@pytest.mark.parametrize("optimizer", [None, 3, "adamm", CompanderScaled("adam"), OrthogonalGradient("adam")])
def test_orthogonal_gradient_rejects_wrong_optimizer(optimizer):
    with pytest.raises(ValueError, match=r"Received: optimizer="):
        OrthogonalGradient(optimizer)
