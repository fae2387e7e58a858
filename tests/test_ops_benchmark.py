"""Tests of `benchmarks/ops.py`: it covers all functions, compares equivalent forms, and detects differences."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re

import numpy as np
import pytest

from keras_reg.ops.noise_mask import scale_gradient
from tests.support.benchmarks import import_benchmark
from tests.support.tiers import ON_TORCH

pytestmark = pytest.mark.any_backend
ROOT = pathlib.Path(__file__).parents[1]
benchmark, pairs, programs = map(import_benchmark, ("ops", "op_pairs", "programs"))
COMPARED = {name: pair for name, pair in pairs.PAIRS.items() if pair.naive is not None}
LEFT_OUT = [name for names in pairs.LEFT_OUT.values() for name in names]
SMALL = argparse.Namespace(small=True, rounds=1)
PAGE = (ROOT / "docs" / "benchmarks.md").read_text()


def rows(text: str) -> list[list[str]]:
    """Returns the cells of the rows of a table, without the header."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[0] == "|"][2:]


def agree(name: str, pair) -> None:
    for gradient in benchmark.passes(pair).values():
        forms, _ = benchmark.forms(pair, pair.small, "eager", gradient)
        benchmark.check(name, forms, pair.tolerance)


def test_ops_benchmark_compares_or_excludes_every_function():
    assert sorted([*COMPARED, *LEFT_OUT]) == sorted(import_benchmark("op_functions").op_functions())
    only_copied = set(pairs.PAIRS) - set(COMPARED)
    assert only_copied <= set(LEFT_OUT)
    assert all(pairs.PAIRS[name].elementwise for name in only_copied)


@ON_TORCH
@pytest.mark.parametrize("name", COMPARED)
def test_ops_benchmark_forms_agree_and_print_rows(name, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUND", 1e-9)
    benchmark.show_pairs([name], "eager", SMALL)
    passes = ["value", "value and gradient"][: 1 + bool(COMPARED[name].wrt)]
    assert [[row[0], row[2]] for row in rows(capsys.readouterr().out)] == [[name, label] for label in passes]


@pytest.mark.parametrize("name", ["compand_weight", "calibration_bins", "group_envelope", "keep_top_k"])
def test_ops_benchmark_detects_wrong_value(name):
    pair = COMPARED[name]

    def wrong(*inputs):
        results = pair.ours(*inputs)
        return (results[0] * 1.01, *results[1:]) if isinstance(results, tuple) else results * 1.01

    agree(name, pair)
    with pytest.raises(AssertionError, match=name):
        agree(name, dataclasses.replace(pair, ours=wrong))


@pytest.mark.parametrize("name", ["compand_weight", "nuclear_norm", "hyper_linear"])
def test_ops_benchmark_detects_wrong_gradient(name):
    pair = COMPARED[name]

    def wrong(*inputs):
        return scale_gradient(pair.ours(*inputs), 0.99)

    agree(name, dataclasses.replace(pair, ours=wrong, wrt=()))
    with pytest.raises(AssertionError, match=name):
        agree(name, dataclasses.replace(pair, ours=wrong))


def test_ops_benchmark_detects_nonfinite_numbers():
    pair = dataclasses.replace(COMPARED["compand_weight"], ours=lambda x: x / 0, naive=lambda x: x / 0)
    with pytest.raises(AssertionError, match="not finite"):
        agree("both", pair)


def test_ops_benchmark_compares_elementwise_functions_with_a_copy(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "ROUND", 1e-9)
    benchmark.show_bandwidth(["follow", "nuclear_norm", "bounded"], "eager", SMALL)
    found = rows(capsys.readouterr().out)
    assert [row[:2] for row in found] == [["follow", "value"], ["bounded", "value"], ["bounded", "value and gradient"]]
    assert all(float(row[6]) > 0 for row in found)


def test_ops_benchmark_counts_computing_instructions():
    program = """HloModule jit_f
%fused_computation (p: f32[8]) -> f32[8] {
  ROOT %sine = f32[8]{0} sine(%p)
}

ENTRY %main.4 (x: f32[8]) -> (f32[8], s32[]) {
  %x = f32[8]{0} parameter(0), metadata={op_name="x"}
  %c = s32[] constant(2)
  %wrapped_sine = f32[8]{0} fusion(%x), kind=kLoop, calls=%fused_computation
  %pair = (f32[8]{0}, s32[]) while((f32[8]{0}, s32[]) %x), condition=%c, body=%b
  %first = f32[8]{0} get-tuple-element(%pair), index=0
  ROOT %tuple = (f32[8]{0}, s32[]) tuple(%first, %c)
}
"""
    assert programs.instructions(program) == 2


def test_ops_benchmark_takes_gradients_by_chosen_inputs():
    x, y, upstream = np.float32([2.0, 3.0]), np.float32([5.0, 7.0]), np.float32([1.0, 10.0])
    call = programs.program(programs.with_gradient(lambda x, y: x * x * y, (1,)), [upstream, x, y], "eager").call
    value, gradient = (np.asarray(result) for result in call())
    np.testing.assert_allclose(value, x * x * y)
    np.testing.assert_allclose(gradient, upstream * x * x)


def test_benchmark_page_shows_all_functions():
    section = PAGE[PAGE.index("naive form\n") : PAGE.index("## Beside a loop")]
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    expected = {(name, label) for name, pair in COMPARED.items() for label in benchmark.passes(pair)}
    of_pairs = [rows(table) for table in tables if "kernels" in table]
    assert of_pairs
    for table in of_pairs:
        assert {(row[0], row[2]) for row in table} == expected
    elementwise = {row[0] for table in tables if "a copy's" in table for row in rows(table)}
    assert elementwise == {name for name, pair in pairs.PAIRS.items() if pair.elementwise}
    assert [name for name in LEFT_OUT if f"`{name}`" not in section] == []
