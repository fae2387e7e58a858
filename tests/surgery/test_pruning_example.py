"""Tests that the pruning example runs, and that its pruned models are smaller and accurate."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.processes import ROOT
from tests.support.tiers import ON_TORCH


@ON_TORCH
@pytest.mark.slow
@pytest.mark.any_backend
@pytest.mark.parametrize(("method", "strength"), [("sparsity_mask", 0.03), ("group_envelope", 0.003)])
def test_pruning_example_prunes_and_keeps_accuracy(method, strength):
    spec = importlib.util.spec_from_file_location("pruning_example", ROOT / "examples" / "pruning.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WIDTHS = (8, 16, 16)
    result = module.main(method, epochs=10, strength=strength)
    assert result["parameters"] < 1
    assert result["fine_tuned"] > 0.5
