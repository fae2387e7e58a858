"""Tests of the optimal weight of the labels against grid search and the authors' kernel-ridge example."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg.ops.label_weight import optimal_label_weight

# These are the eleven noisy samples of a sine of the paper's example.
X = np.arange(11) / 10
Y = np.array(
    [
        0.38476636465198066,
        1.2333967683416893,
        1.33232242218057,
        0.6920159488889518,
        -0.29756145531871736,
        -0.24189291901377769,
        -0.7964485769175675,
        -0.9616480167034174,
        -0.49672509509916934,
        -0.3469066003991437,
        0.5589512650600734,
    ]
)
GRID = np.arange(101) / 100
TRUTH = np.sin(2 * np.pi * GRID)
RIDGE = 0.2
RTOL = 1e-5 if keras.backend.backend() == "jax" else 1e-10

# The losses of six steps, and of the limit, for each alpha.
LOSSES = {
    0.0: ([0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251], 0.49505),
    0.35: ([0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948], 0.14959),
    0.25: ([0.16477, 0.15309, 0.14958, 0.14903, 0.14946, 0.15011], 0.15250),
}


def kernel(left, right):
    return np.exp(-80 * (left[:, None] - right[None]) ** 2)


def fit(targets, ridge=RIDGE):
    """Fits a kernel ridge regression. Returns its predictions on the training points and on the grid."""
    dual = np.linalg.solve(kernel(X, X) + ridge * np.eye(11), targets)
    return kernel(X, X) @ dual, kernel(GRID, X) @ dual


def distill(weight, steps):
    """Returns the losses of repeated self-distillation with a weight of the ground truth."""
    targets, losses = Y, []
    for _ in range(steps):
        fitted, predictions = fit(targets)
        losses.append(np.mean((predictions - TRUTH) ** 2))
        targets = weight * Y + (1 - weight) * fitted
    return losses


def number(tensor) -> float:
    return float(ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("weight", LOSSES)
def test_label_weight_example_matches_paper(weight):
    losses, limit = LOSSES[weight]
    np.testing.assert_allclose(distill(weight, 6), losses, atol=6e-6)
    far = distill(weight, 3000)[-1]
    np.testing.assert_allclose(far, limit, atol=6e-6)
    amplified = fit(Y, RIDGE / weight)[1] if weight else np.zeros(101)  # The limit is a stronger ridge.
    np.testing.assert_allclose(np.mean((amplified - TRUTH) ** 2), far, atol=1e-9 if weight else 6e-6)


@pytest.mark.parametrize(("steps", "expected"), [(1, -0.62), (2, 0.135), (3, 0.391), (5, 0.598), (8, 0.715)])
def test_optimal_label_weight_equals_grid_search(steps, expected):
    """Compares with a grid search that trains every student on a mixture of labels and teacher.

    The teacher comes from some steps without labels.
    """
    teacher = Y
    for _ in range(steps):
        teacher = fit(teacher)[0]
    label_student, teacher_student = fit(Y)[1], fit(teacher)[1]
    grid = np.linspace(-1, 1, 2001)
    best = grid[np.argmin([np.mean((fit(w * Y + (1 - w) * teacher)[1] - TRUTH) ** 2) for w in grid])]
    weight = number(optimal_label_weight(TRUTH, label_student, teacher_student, clip=None))
    np.testing.assert_allclose(weight, best, atol=5.1e-4)
    np.testing.assert_allclose(weight, expected, atol=0.005)
    clipped = number(optimal_label_weight(TRUTH, label_student, teacher_student))
    np.testing.assert_allclose(clipped, min(max(weight, 0.0), 1.0), rtol=1e-6)


def test_optimal_label_weight_applies_to_label_and_not_teacher():
    """Checks that the labels get all weight if their student is correct."""
    y, rng = np.eye(3)[[0, 1, 2, 1]], np.random.default_rng(0)
    teacher = rng.dirichlet(np.ones(3), 4)
    np.testing.assert_allclose(number(optimal_label_weight(y, y, teacher)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(number(optimal_label_weight(y, teacher, y)), 0.0, atol=1e-6)
    a, b = np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.1, 0.9]])
    np.testing.assert_allclose(number(optimal_label_weight(np.eye(2), a, b)), 0.9, rtol=1e-6)


def test_optimal_label_weight_sums_over_samples_and_outputs():
    rng = np.random.default_rng(1)
    y = np.eye(4)[rng.integers(0, 4, 50)]
    a, b = 0.6 * y + 0.4 * rng.dirichlet(np.ones(4), 50), 0.5 * y + 0.5 * rng.dirichlet(np.ones(4), 50)
    expected = np.vdot(y - b, a - b) / np.vdot(a - b, a - b)
    np.testing.assert_allclose(number(optimal_label_weight(y, a, b, clip=None)), expected, rtol=RTOL)
    labels = y.astype("int32")  # One-hot labels may be integers.
    np.testing.assert_allclose(number(optimal_label_weight(labels, a, b, clip=None)), expected, rtol=RTOL)
    half = [ops.cast(array, "float16") for array in (y, a, b)]
    np.testing.assert_allclose(number(optimal_label_weight(*half, clip=None)), expected, atol=5e-3)


@pytest.mark.parametrize(
    ("y", "clip", "expected"),
    [
        (3.0, None, 3.0),
        (3.0, (0.0, 1.0), 1.0),
        (-2.0, None, -2.0),
        (-2.0, (0.0, 1.0), 0.0),
        (-2.0, (-0.5, 1.5), -0.5),
        (0.25, (0.0, 1.0), 0.25),
    ],
)
def test_optimal_label_weight_is_clipped(y, clip, expected):
    got = optimal_label_weight(np.full((2, 1), y), np.ones((2, 1)), np.zeros((2, 1)), clip=clip)
    np.testing.assert_allclose(number(got), expected, rtol=1e-6)


def test_optimal_label_weight_rejects_equal_predictions():
    a = np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"are the same.*two models.*Received"):
        optimal_label_weight(np.eye(3)[:, :2], a, a)
    with pytest.raises(ValueError, match=r"are the same"):
        optimal_label_weight(np.eye(3)[:, :2], ops.convert_to_tensor(a), ops.convert_to_tensor(a))


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch runs eagerly")
@pytest.mark.parametrize(("clip", "expected"), [((0.0, 1.0), 1.0), ((0.0, 0.5), 0.5), (None, 1.0)])
def test_compiled_label_weight_of_equal_predictions_is_not_nan(clip, expected):
    def weight(y, a, b):
        return optimal_label_weight(y, a, b, clip)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(weight, jit_compile=True)
    else:
        import jax

        compiled = jax.jit(weight)
    a, b = np.full((3, 2), 0.5, "float32"), np.full((3, 2), 0.1, "float32")
    y = np.eye(3, 2, dtype="float32")
    assert number(compiled(y, a, a)) == expected
    np.testing.assert_allclose(number(compiled(y, a, b)), number(weight(y, a, b)), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_optimal_label_weight_rejects_nonfinite_values(bad, which):
    arrays = [np.eye(2), np.full((2, 2), 0.5), np.full((2, 2), 0.4)]
    arrays[which][0, 0] = bad
    with pytest.raises(ValueError, match=r"must be finite. Received"):
        optimal_label_weight(*arrays)


def test_optimal_label_weight_rejects_bad_shapes_and_clip():
    a, b = np.full((3, 2), 0.5), np.full((3, 2), 0.4)
    with pytest.raises(ValueError, match=r"same shape.*one_hot.*Received: shapes \(3,\), \(3, 2\) and \(3, 2\)"):
        optimal_label_weight(np.array([0, 1, 1]), a, b)
    with pytest.raises(ValueError, match=r"same shape.*Received"):
        optimal_label_weight(np.eye(3)[:, :2], a, b[:1])  # These shapes would broadcast.
    for clip in ((1.0, 0.0), (0.0,), (np.nan, 1.0), (-np.inf, 1.0)):
        with pytest.raises(ValueError, match=r"`clip` must be None or \(lowest, highest\).*Received: clip="):
            optimal_label_weight(np.eye(3)[:, :2], a, b, clip)
