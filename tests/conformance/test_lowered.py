"""Tests of the search for host calls and dynamic shapes in programs for XLA."""

from __future__ import annotations

import pytest

from tests.support.lowered import wrong_for_accelerators


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "line",
    [
        "%0 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%arg0) : (tensor<f32>) -> ()",
        "%1 = stablehlo.add %0, %0 : tensor<?x3xf32>",
        '%2 = "stablehlo.send"(%1, %0) : (tensor<3xf32>, !stablehlo.token) -> !stablehlo.token',
        "outfeed.1 = token[] outfeed(f32[3]{0} p0, token[] after-all.1)",
        "send.3 = (f32[3]{0}, u32[], token[]) send(f32[3]{0} p0, token[] t), channel_id=1",
        "p = f32[<=8,3]{1,0} parameter(0)",
    ],
)
def test_lowered_program_check_finds_host_calls_and_unknown_sizes(line):
    assert wrong_for_accelerators(f"HloModule step\n  {line}\n") == [line]


@pytest.mark.any_backend
def test_lowered_program_check_ignores_file_names():
    program = """#loc3 = loc("keras_reg/callbacks/early_learning.py":3:1)
    %1 = stablehlo.add %0, %0 : tensor<8x3xf32> loc("jit(step)/callback"(#loc3))
    add.1 = f32[8,3]{1,0} add(p0, p1), metadata={op_name="callbacks/add"}"""
    assert wrong_for_accelerators(program) == []
