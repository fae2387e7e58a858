"""Runs the example, which writes a figure."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from tests.support.tiers import ON_TORCH


@ON_TORCH
@pytest.mark.slow
def test_tabular_jepa_example_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    file = pathlib.Path(__file__).parents[2] / "examples" / "tabular_jepa.py"
    spec = importlib.util.spec_from_file_location("tabular_jepa_example", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scores = module.main(epochs=1, folder=str(tmp_path))
    assert scores["plain columns"] > 0.9
    assert scores["representations"] > 0.5
    assert (tmp_path / "tabular_jepa.png").stat().st_size > 1000
