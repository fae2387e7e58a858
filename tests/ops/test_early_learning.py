"""Tests of early-learning regularization against the authors' numbers and an independent derivation."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_reg.ops import early_learning_penalty
from keras_reg.ops.early_learning import clip_probabilities, update_early_targets
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "elr.npz", allow_pickle=False)
CASES = [str(case) for case in GOLDEN["elr/cases"]]


def tolerance(dtype, case=""):
    if dtype == "float64":
        return {"rtol": 1e-10, "atol": 1e-12}
    # Without the clamp, the `hard` gradients change by only 2.5e-5.
    return {"rtol": 1e-5, "atol": 1e-6 if "hard" in case else 1e-5}


def step(memory, ids, labels, logits, strength, momentum, variant=""):
    """Takes one step with a NumPy memory. Returns the loss, its gradient for the logits, and the new memory."""
    before = ops.convert_to_tensor(memory[ids])
    one_hot = ops.one_hot(labels, logits.shape[1], dtype=logits.dtype)

    def predict(z):
        return ops.softmax(z) if variant == "no clamp" else clip_probabilities(ops.softmax(z))

    def loss(z):
        p = predict(z)
        t = update_early_targets(before, p, momentum)
        if variant == "use before update":
            t = before
        if variant == "bias correction":
            t = t / (1 - momentum)
        penalty = early_learning_penalty(t, p)
        if variant == "gradient through targets":
            t = momentum * before + (1 - momentum) * p / ops.sum(p, axis=-1, keepdims=True)
            penalty = ops.log(1.0 - ops.sum(t * p, axis=-1))
        cross_entropy = -ops.sum(one_hot * ops.log_softmax(z)) / len(labels)
        return cross_entropy + strength * ops.sum(penalty) / len(labels)  # `ops.mean` returns float32 for float64.

    value, gradient = value_and_gradient(loss, logits)
    memory = memory.copy()
    memory[ids] = ops.convert_to_numpy(update_early_targets(before, predict(ops.convert_to_tensor(logits)), momentum))
    return value, gradient, memory


def run_case(case, dtype, variant=""):
    """Returns the losses, gradients and targets of all steps."""
    logits = GOLDEN[f"logits/{case.split('_')[0]}"].astype(dtype)
    strength, momentum = float(GOLDEN[f"elr/{case}/lam"]), float(GOLDEN[f"elr/{case}/beta"])
    memory = np.zeros((12, 5), dtype)
    results = []
    for index, labels, z in zip(GOLDEN["index"], GOLDEN["labels"], logits, strict=True):
        value, gradient, memory = step(memory, index, labels, z, strength, momentum, variant)
        results.append((value, gradient, memory.copy()))
    return [np.stack(part) for part in zip(*results, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_early_learning_ops_match_golden_loss_gradient_and_targets(case, floatx):
    loss, gradient, targets = run_case(case, floatx)
    np.testing.assert_allclose(loss, GOLDEN[f"elr/{case}/loss"], **tolerance(floatx, case))
    np.testing.assert_allclose(gradient, GOLDEN[f"elr/{case}/grad"], **tolerance(floatx, case))
    np.testing.assert_allclose(targets, GOLDEN[f"elr/{case}/target"], **tolerance(floatx, case))


@pytest.mark.parametrize(
    ("variant", "case", "seen_by"),
    [
        ("use before update", "mild_lam3_beta0.7", "loss"),
        ("gradient through targets", "mild_lam3_beta0.7", "gradient"),
        ("bias correction", "mild_lam3_beta0.7", "loss"),
        ("no clamp", "hard_lam3_beta0.7", "gradient"),
    ],
)
def test_early_learning_ops_differ_from_naive_variants(variant, case, seen_by):
    loss, gradient, _ = run_case(case, "float32", variant)
    values = {"loss": (loss, "loss"), "gradient": (gradient, "grad")}
    got, key = values[seen_by]
    assert not np.allclose(got, GOLDEN[f"elr/{case}/{key}"], **tolerance("float32", case))
    if variant == "gradient through targets":  # This variant does not change the loss.
        np.testing.assert_allclose(loss, GOLDEN[f"elr/{case}/loss"], **tolerance("float32", case))


@NOT_ON_JAX
def test_early_learning_ops_accept_ragged_batches(floatx):
    memory = np.zeros((10, 5), floatx)
    losses, gradients = [], []
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        value, gradient, memory = step(
            memory,
            GOLDEN["ragged/index"][rows],
            GOLDEN["ragged/labels"][rows],
            GOLDEN["ragged/logits"][rows].astype(floatx),
            float(GOLDEN["ragged/lam"]),
            float(GOLDEN["ragged/beta"]),
        )
        losses.append(value)
        gradients.append(gradient)
    np.testing.assert_allclose(losses, GOLDEN["ragged/loss"], **tolerance(floatx))
    np.testing.assert_allclose(np.concatenate(gradients), GOLDEN["ragged/grad"], **tolerance(floatx))
    np.testing.assert_allclose(memory, GOLDEN["ragged/target"], **tolerance(floatx))


@NOT_ON_JAX
def test_early_learning_gradient_equals_lemma_2():
    """Checks d penalty / d z_c = p_c / (1 - <t, p>) * sum_k (t_k - t_c) p_k without clipping, up to the sign."""
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(4), 3) * 0.7
    z, t = z.astype("float32"), t.astype("float32")
    targets = ops.convert_to_tensor(t)

    def penalty(z):
        return ops.sum(early_learning_penalty(targets, clip_probabilities(ops.softmax(z))))

    _, gradient = value_and_gradient(penalty, z)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    inner = (t * p).sum(1, keepdims=True)
    np.testing.assert_allclose(gradient, p * (inner - t) / (1 - inner), rtol=1e-4, atol=1e-6)


def test_clip_gradient_is_one_on_boundary_and_zero_outside():
    p = np.array([[1e-4, 1.0 - 1e-4, 0.5, 0.0, 1.0]], "float32")
    factors = ops.convert_to_tensor(np.arange(1, 6, dtype="float32"))
    value, gradient = value_and_gradient(lambda p: ops.sum(clip_probabilities(p) * factors), p)
    np.testing.assert_array_equal(gradient, [[1.0, 2.0, 3.0, 0.0, 0.0]])
    np.testing.assert_allclose(value, 1e-4 + 2 * 0.9999 + 1.5 + 4e-4 + 5 * 0.9999, rtol=1e-6)


def test_early_learning_penalty_reaches_documented_floor():
    """Checks log(1 - <t, p>) = -6.91 for ten classes, t = p / sum(p), and p as certain as the clip allows."""
    p = clip_probabilities(ops.convert_to_tensor(np.eye(10, dtype="float32")[:1]))
    target = p / ops.sum(p)
    penalty = ops.convert_to_numpy(early_learning_penalty(target, p))
    np.testing.assert_allclose(penalty, [-6.91], atol=0.01)
