"""Tests of implicit tuning of a convex head: gradients, bounds on their errors, and the optimum from several starts."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_reg.tune import ImplicitHeadTuning
from keras_reg.tune._convex_head import Batch, Penalized, RidgeHead, SoftmaxHead
from keras_reg.tune._implicit_search import ImplicitSearch
from tests.support.stn import GOLDEN
from tests.support.tiers import ON_TORCH

# Each row of an image is a group.
ROWS = np.repeat(np.arange(8), 8)


@pytest.fixture(scope="module")
def divided():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    return (x[:250], y[:250]), (x[250:750], y[250:750])


def search(divided, head=None):
    training, tuning = ImplicitHeadTuning()._make_batches(*divided)
    return ImplicitSearch(head or SoftmaxHead(), training, tuning, ROWS, 1e-3)


def solved(problem, theta, accuracy=1e-9):
    return problem.penalize(theta).solve(np.zeros((65, 10)), accuracy)


def test_implicit_head_matches_golden_ridge_gradient():
    """Checks the gradient and the solution. The authors' head has no bias and half the squares."""
    batches = []
    for x, y in (("X", "y"), ("Xv", "yv")):
        features = GOLDEN[f"oracle_ridge/{x}"]
        batches.append(Batch(np.c_[features, np.zeros(len(features))], GOLDEN[f"oracle_ridge/{y}"][:, None]))
    problem = ImplicitSearch(RidgeHead(), *batches, np.zeros(6, int), 1e-3)
    theta = np.array([GOLDEN["oracle_ridge/lam"] - np.log(2)])
    weights, error = problem.penalize(theta).solve(np.zeros((7, 1)), 1e-10)
    np.testing.assert_allclose(weights[:6, 0], GOLDEN["oracle_ridge/w"], rtol=1e-10)
    gradient, bound = problem.hypergradient(theta, weights, error, 1e-12)
    np.testing.assert_allclose(gradient[0], GOLDEN["oracle_ridge/dLv_dlam"], rtol=1e-9)
    assert bound < 1e-6
    np.testing.assert_allclose(problem.head.value(batches[1], weights), GOLDEN["oracle_ridge/Lv"], rtol=1e-10)


@pytest.mark.parametrize("head", [SoftmaxHead(), RidgeHead()])
def test_implicit_head_gradient_matches_finite_differences_within_bound(divided, head):
    """Checks that the bound holds for rough solutions, and is below 100,000 times the error of a precise one."""
    problem = search(divided, head)
    theta = np.random.default_rng(1).normal(-5, 1, 8)
    value = lambda theta: head.value(problem.tuning, solved(problem, theta)[0])  # noqa: E731
    exact = [(value(theta + 1e-5 * unit) - value(theta - 1e-5 * unit)) / 2e-5 for unit in np.eye(8)]
    gradient, bound = problem.hypergradient(theta, *solved(problem, theta), 1e-11)
    np.testing.assert_allclose(gradient, exact, atol=1e-6 * np.abs(exact).max())
    assert bound < 1e-6
    tight = []
    for accuracy in (1.0, 1e-1, 1e-3, 1e-5):
        # The error is made as large as allowed. That of `solve` is often much smaller.
        weights, _ = solved(problem, theta)
        off = np.random.default_rng(2).normal(size=weights.shape)
        weights = weights + accuracy * off / np.linalg.norm(off)
        rough, bound = problem.hypergradient(theta, weights, accuracy, accuracy)
        error = np.linalg.norm(rough - exact)
        assert error <= bound
        tight.append(bound / error)
    assert tight[-1] < 1e5


def test_implicit_head_solver_bounds_distance_to_optimum(divided):
    problem = search(divided).penalize(np.full(8, -6.0))
    best, _ = problem.solve(np.zeros((65, 10)), 1e-12)
    for accuracy in (1e-1, 1e-3, 1e-6):
        weights, bound = problem.solve(np.zeros((65, 10)), accuracy)
        assert np.linalg.norm(weights - best) <= bound <= accuracy
    assert isinstance(problem, Penalized)


def test_implicit_head_curvature_bounds_hold():
    """Compares the bounds with a numerical Hessian at random weights."""
    random = np.random.default_rng(0)
    batch = Batch(random.normal(size=(12, 3)), np.eye(4)[random.integers(0, 4, 12)])
    head = SoftmaxHead()

    def hessian(weights):
        product = head.curvature(batch, weights)
        return np.stack([product(unit.reshape(3, 4)).ravel() for unit in np.eye(12)])

    weights, moved = random.normal(size=(2, 3, 4))
    step = 1e-6
    numeric = [
        (head.gradient(batch, weights + step * unit) - head.gradient(batch, weights - step * unit)).ravel() / (2 * step)
        for unit in np.eye(12).reshape(12, 3, 4)
    ]
    np.testing.assert_allclose(hessian(weights), numeric, atol=1e-8)
    for scale in (0.1, 1.0, 5.0):
        assert np.linalg.norm(hessian(scale * weights), 2) <= head.largest_curvature(batch)
    change = np.linalg.norm(hessian(moved) - hessian(weights), 2)
    assert change <= head.curvature_change(batch) * np.linalg.norm(moved - weights)


@ON_TORCH
def test_implicit_head_reaches_equal_optimum_from_two_starts(divided):
    """Checks eight strengths, one for each row of the images, which beat the best single strength of a fine grid."""
    results = [
        ImplicitHeadTuning(groups=ROWS, init=np.exp(start), max_steps=80, tolerance=5e-4).tune(*divided)
        for start in (-7.0, -4.0)
    ]
    assert results[0].tuning_loss == pytest.approx(results[1].tuning_loss, rel=1e-3)
    np.testing.assert_allclose(np.log(results[0].strengths), np.log(results[1].strengths), atol=0.15)
    problem = search(divided)
    single = [
        problem.head.value(problem.tuning, solved(problem, np.full(8, theta), 1e-4)[0])
        for theta in np.arange(-12.0, -5.0, 0.5)
    ]
    assert results[0].tuning_loss < min(single)
    for result in results:
        losses = [row["tuning_loss"] for row in result.history]
        # Every step is certain to decrease the loss.
        assert losses == sorted(losses, reverse=True)
        assert all(row["bound"] < row["gradient"] for row in result.history[:-1])
        assert result.history[-1]["gradient"] + result.history[-1]["bound"] <= 5e-4


def test_implicit_head_finds_uninformative_features():
    """Checks labels that depend on three of nine features: only the strengths of the other features grow."""
    random = np.random.default_rng(3)
    x, xt = random.normal(size=(2, 40, 9))
    weights = np.r_[np.ones(3), np.zeros(6)]
    y, yt = (part @ weights + random.normal(size=40) for part in (x, xt))
    result = ImplicitHeadTuning("ridge", groups="features", init=0.01, max_steps=60).tune((x, y), (xt, yt))
    assert result.strengths[:3].max() < 0.2 * np.median(result.strengths[3:])
    assert result.tuning_loss < result.history[0]["tuning_loss"]


@ON_TORCH
def test_tune_head_solves_head_of_model(divided):
    """Checks that the model has the solved weights, and that its loss on tuning data is that of the result."""
    (x, y), (xt, yt) = ((part[0].astype("float32"), part[1].astype("int32")) for part in divided)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    model.fit(x, y, epochs=3, verbose=0)
    before = model.evaluate(xt, yt, verbose=0)
    result = ImplicitHeadTuning(max_steps=20).tune_head(model, (x, y), (xt, yt))
    after = model.evaluate(xt, yt, verbose=0)
    assert after == pytest.approx(result.tuning_loss, rel=1e-4)
    assert after < 0.7 * before
    assert result.strengths.shape == (1,)


DATA = (np.ones((4, 3)), np.arange(4) % 2), (np.zeros((4, 3)), np.arange(4) % 2)


@pytest.mark.parametrize(
    ("arguments", "data", "message"),
    [
        ({"head": "hinge"}, DATA, "head='hinge'"),
        ({"head": 1}, DATA, "head=1"),
        ({"groups": "rows"}, DATA, "groups='rows'"),
        ({"groups": True}, DATA, "groups=True"),
        ({"groups": [0.0, 1.0, 1.0]}, DATA, "groups="),
        ({"groups": [0, 2, 2]}, DATA, "without gaps"),
        ({"init": 0.0}, DATA, "init=0.0"),
        ({"init": True}, DATA, "init=True"),
        ({"init": "a"}, DATA, "init='a'"),
        ({"bias_strength": 0.0}, DATA, "bias_strength=0.0"),
        ({"bias_strength": True}, DATA, "bias_strength=True"),
        ({"bias_strength": "a"}, DATA, "bias_strength='a'"),
        ({"max_steps": 0}, DATA, "max_steps=0"),
        ({"max_steps": True}, DATA, "max_steps=True"),
        ({"max_steps": "5"}, DATA, "max_steps='5'"),
        ({"tolerance": -1.0}, DATA, "tolerance=-1.0"),
        ({"tolerance": True}, DATA, "tolerance=True"),
        ({"tolerance": "a"}, DATA, "tolerance='a'"),
        ({}, (DATA[0], DATA[0]), "twice"),
        ({}, (DATA[0], (np.ones((4, 2)), DATA[0][1])), r"\[3, 2\]"),
        ({}, (DATA[0], (np.ones((3, 3)), DATA[0][1])), r"\(3, 3\)"),
        ({}, (DATA[0], (np.full((4, 3), np.nan), DATA[0][1])), "NaN"),
        ({}, (DATA[0], (np.ones((4, 3)), np.ones(4))), "float64"),
        ({}, (DATA[0], (np.ones((4, 3)), -np.ones(4, int))), "from 0"),
    ],
)
def test_implicit_head_rejects_bad_arguments_and_data(arguments, data, message):
    with pytest.raises(ValueError, match=message):
        ImplicitHeadTuning(**arguments).tune(*data)


@pytest.mark.parametrize("last", [keras.layers.Dense(2, "softmax"), keras.layers.Dense(2, use_bias=False)])
def test_tune_head_rejects_nonlinear_heads(last):
    model = keras.Sequential([keras.Input((3,)), last])
    with pytest.raises(ValueError, match="last layer"):
        ImplicitHeadTuning().tune_head(model, *DATA)
    with pytest.raises(ValueError, match="None"):
        ImplicitHeadTuning().tune_head(keras.Sequential([keras.layers.Dense(2)]), *DATA)


@ON_TORCH
def test_implicit_head_accepts_classes_without_samples(divided):
    """Checks that a class without samples is never predicted, and that labels without an output raise."""
    (x, y), (xt, yt) = ((part[0].astype("float32"), part[1].astype("int32")) for part in divided)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(12)])
    result = ImplicitHeadTuning(max_steps=5).tune_head(model, (x, y), (xt, yt))
    assert result.kernel.shape == (64, 12)
    logits = np.array(keras.ops.convert_to_numpy(model(xt)))
    assert (logits.argmax(1) == yt).mean() > 0.8
    assert (logits[:, 10:].max(1) < logits.max(1)).all()
    with pytest.raises(ValueError, match="twice"):
        ImplicitHeadTuning().tune_head(model, (x, y), (x, y))
    for head, labels, message in (("softmax", (y, yt), "9 outputs.*up to 9"), ("ridge", (x, xt), r"9 outputs.*64\)")):
        few = keras.Sequential([keras.Input((64,)), keras.layers.Dense(9)])
        with pytest.raises(ValueError, match=message):
            ImplicitHeadTuning(head).tune_head(few, (x, labels[0]), (xt, labels[1]))
