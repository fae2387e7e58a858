"""Compiles functions to programs of the backend, and counts the kernels and the memory of each program."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras

#: Matches an XLA instruction: its name, its type, which may be a tuple, and its operation.
INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.-]+ = (?:\(.*?\)|\S+) ([\w-]+)\(")
#: XLA instructions that compute nothing.
NAMES_ONLY = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast"}
#: TensorFlow nodes that compute nothing.
NO_WORK = {"Placeholder", "Const", "Identity", "IdentityN", "NoOp"}


@dataclasses.dataclass(frozen=True)
class Program:
    """Holds a compiled function, the number of its kernels and the memory that it needs.

    Attributes:
        call: Runs the program, waits for the device, and returns the results as a flat list.
        kernels: The number of kernels. With XLA: instructions of the entry computation after optimization, where a
            fusion, a loop and a library call count once each. In a TensorFlow graph: nodes. With PyTorch: outermost
            ATen calls on a CPU, and kernels on a GPU.
        memory: Bytes beyond arguments and results, or `None` where the backend does not report them.
    """

    call: Callable[[], list[Any]]
    kernels: int
    memory: int | None


def modes() -> list[str]:
    """Returns the ways to compile a function on this backend, and `eager`."""
    return [*{"jax": ["XLA"], "tensorflow": ["graph", "XLA"], "torch": []}[keras.backend.backend()], "eager"]


def with_gradient(function: Callable[..., Any], wrt: Sequence[int]) -> Callable[..., Any]:
    """Returns a function of the upstream gradient and the inputs that computes the value and its gradients."""
    backend = keras.backend.backend()

    def of_jax(upstream: Any, *inputs: Any) -> Any:
        import jax

        def of_chosen(*chosen: Any) -> Any:
            every = list(inputs)
            for place, value in zip(wrt, chosen, strict=True):
                every[place] = value
            return function(*every)

        value, backward = jax.vjp(of_chosen, *(inputs[place] for place in wrt))
        return value, *backward(upstream)

    def of_tensorflow(upstream: Any, *inputs: Any) -> Any:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([inputs[place] for place in wrt])
            value = function(*inputs)
        gradients = tape.gradient(value, [inputs[place] for place in wrt], output_gradients=upstream)
        return value, *(tf.convert_to_tensor(gradient) for gradient in gradients)

    def of_torch(upstream: Any, *inputs: Any) -> Any:
        import torch

        every = [x.detach().requires_grad_(place in wrt) for place, x in enumerate(inputs)]
        with torch.enable_grad():
            value = function(*every)
        return value.detach(), *torch.autograd.grad(value, [every[place] for place in wrt], upstream)

    return {"jax": of_jax, "tensorflow": of_tensorflow, "torch": of_torch}[backend]


def program(function: Callable[..., Any], inputs: Sequence[Any], mode: str) -> Program:
    """Compiles a function for these inputs in one of `modes()`."""
    make = {"jax": _of_jax, "tensorflow": _of_tensorflow, "torch": _of_torch}[keras.backend.backend()]
    return make(function, [keras.ops.convert_to_tensor(x) for x in inputs], mode)


def instructions(text: str) -> int:
    """Returns the number of instructions that compute something in the entry computation of an XLA program."""
    entry = text[text.index("\nENTRY ") :]
    found = [INSTRUCTION.match(line) for line in entry[: entry.index("\n}")].splitlines()]
    return sum(match is not None and match[1] not in NAMES_ONLY for match in found)


def _of_jax(function: Callable[..., Any], inputs: list[Any], mode: str) -> Program:
    import jax

    if mode == "eager":
        return Program(lambda: jax.block_until_ready(jax.tree.leaves(function(*inputs))), 0, None)
    compiled = jax.jit(function).lower(*inputs).compile()
    memory = compiled.memory_analysis()
    return Program(
        lambda: jax.block_until_ready(jax.tree.leaves(compiled(*inputs))),
        instructions(compiled.as_text()),
        None if memory is None else memory.temp_size_in_bytes,
    )


def _of_tensorflow(function: Callable[..., Any], inputs: list[Any], mode: str) -> Program:
    import tensorflow as tf

    run, kernels = function, 0
    if mode != "eager":
        run = tf.function(function, jit_compile=mode == "XLA")
        if mode == "XLA":
            kernels = instructions(run.experimental_get_compiler_ir(*inputs)(stage="optimized_hlo"))
        else:
            definition = run.get_concrete_function(*inputs).graph.as_graph_def()
            kernels = sum(node.op not in NO_WORK for node in definition.node)

    def call() -> list[Any]:
        results = tf.nest.flatten(run(*inputs))
        tf.test.experimental.sync_devices()
        return results

    return Program(call, kernels, None)


def _of_torch(function: Callable[..., Any], inputs: list[Any], mode: str) -> Program:
    import torch

    on_gpu = inputs[0].is_cuda

    def call() -> list[Any]:
        with torch.no_grad():
            results = keras.tree.flatten(function(*inputs))
        if on_gpu:
            torch.cuda.synchronize()
        return results

    call()
    memory = None
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = sum(result.nbytes for result in call())
        memory = max(0, torch.cuda.max_memory_allocated() - before - kept)
    activities = [torch.profiler.ProfilerActivity.CPU] + [torch.profiler.ProfilerActivity.CUDA] * on_gpu
    with torch.profiler.profile(activities=activities) as profile:
        call()
    if on_gpu:
        kernels = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events())
    else:
        kernels = sum(event.name.startswith("aten::") and not _inside_of_aten(event) for event in profile.events())
    return Program(call, kernels, memory)


def _inside_of_aten(event: Any) -> bool:
    parent = event.cpu_parent
    while parent is not None and not parent.name.startswith("aten::"):
        parent = parent.cpu_parent
    return parent is not None
