"""Tests of MaskSparsity against golden gradients."""

from __future__ import annotations

import numpy as np
import pytest

from keras_reg.ops.mask_sparsity import mask_sparsity_penalty
from tests.support.golden import GOLDEN, assert_matches


@pytest.mark.parametrize(("kind", "group"), [("l1", "L1"), ("l2", "L2")])
def test_mask_sparsity_penalty_matches_golden_loss_and_gradient(kind, group, floatx):
    case = {key: GOLDEN[f"masksparsity.{group}.{key}"] for key in ("gamma", "mask", "s", "add_grad")}
    gamma, mask, strength = case["gamma"], case["mask"], float(case["s"])
    loss = strength * np.sum(mask * (np.abs(gamma) if kind == "l1" else gamma**2 / 2))
    assert mask[3] == 1, "a penalized scale of 0 is needed, whose gradient is 0"
    assert gamma[3] == 0
    assert_matches(lambda g: strength * mask_sparsity_penalty(g, mask, kind), gamma, loss, case["add_grad"], floatx)
