"""Tests of progressive self-distillation against the authors' numbers."""

from __future__ import annotations

import functools
import pathlib

import numpy as np
import pytest
from keras import ops

from keras_reg.ops import soften_targets
from keras_reg.ops.self_distillation import linear_schedule, self_distillation_term
from tests.support.gradients import value_and_gradient

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "pskd.npz", allow_pickle=False)
CASES = [str(case) for case in GOLDEN["pskd/cases"]]
TOLERANCE = {"float32": {"rtol": 1e-5, "atol": 1e-6}, "float64": {"rtol": 1e-10, "atol": 1e-12}}


@pytest.mark.parametrize("case", CASES)
def test_self_distillation_weight_matches_golden_values(case):
    final, epochs = float(GOLDEN[f"pskd/{case}/alpha_T"]), int(GOLDEN[f"pskd/{case}/end_epoch"])
    weights = [linear_schedule(epoch, epochs, final) for epoch in range(3)]
    np.testing.assert_allclose(weights, GOLDEN[f"pskd/{case}/alpha_t"], rtol=1e-12)


def loss(y, past, weight, z):
    log_p = ops.log_softmax(z)
    hard = -ops.sum(y * log_p, axis=-1)
    return ops.sum(hard + self_distillation_term(y, past, log_p, weight)) / 4


@pytest.mark.parametrize("case", CASES)
def test_self_distillation_ops_match_golden_losses_and_gradients(case, floatx):
    final, epochs = float(GOLDEN[f"pskd/{case}/alpha_T"]), int(GOLDEN[f"pskd/{case}/end_epoch"])
    memory = np.zeros((12, 5), floatx)
    for step, (ids, labels, logits) in enumerate(
        zip(GOLDEN["index"], GOLDEN["labels"], GOLDEN["logits"].astype(floatx), strict=True)
    ):
        y = np.eye(5, dtype=floatx)[labels]
        past = ops.convert_to_tensor(memory[ids] if step >= 3 else y)
        weight = linear_schedule(step // 3, epochs, final)
        soft = ops.convert_to_numpy(soften_targets(y, past, weight))

        value, gradient = value_and_gradient(functools.partial(loss, ops.convert_to_tensor(y), past, weight), logits)
        np.testing.assert_allclose(soft, GOLDEN[f"pskd/{case}/soft_targets"][step], **TOLERANCE[floatx])
        np.testing.assert_allclose(value, GOLDEN[f"pskd/{case}/loss"][step], **TOLERANCE[floatx])
        np.testing.assert_allclose(gradient, GOLDEN[f"pskd/{case}/grad"][step], **TOLERANCE[floatx])
        memory[ids] = ops.convert_to_numpy(ops.softmax(ops.convert_to_tensor(logits)))
        np.testing.assert_allclose(memory, GOLDEN[f"pskd/{case}/memory"][step], **TOLERANCE[floatx])


def test_self_distillation_stops_gradient_of_past_prediction():
    y, log_p = np.array([[1.0, 0.0]], "float32"), np.log(np.array([[0.3, 0.7]], "float32"))

    def term(past):
        return ops.sum(self_distillation_term(y, past, ops.convert_to_tensor(log_p), 0.5)) + 0.0 * ops.sum(past)

    value, gradient = value_and_gradient(term, np.array([[0.6, 0.4]], "float32"))
    np.testing.assert_array_equal(gradient, [[0.0, 0.0]])
    np.testing.assert_allclose(value, 0.5 * (0.4 * np.log(0.3) - 0.4 * np.log(0.7)), rtol=1e-5)
