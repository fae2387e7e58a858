"""Returns the programs that XLA compiles while a model trains, as text. A TPU would run the same programs."""

from __future__ import annotations

import contextlib
import pathlib
import re
import tempfile
from collections.abc import Iterator
from unittest import mock

import keras

#: Matches calls to the host in the programs of JAX and TensorFlow.
HOST_CALLS = re.compile(r"callback|outfeed|infeed|pyfunc|\b(send|recv)(-done)?\(|stablehlo\.(send|recv)", re.IGNORECASE)
#: Matches sizes that are known only at run time: `tensor<?x3xf32>` on JAX, `f32[<=8,3]` on TensorFlow.
UNKNOWN_SIZES = re.compile(r"tensor<[^>]*\?|\[<=|,<=")
#: Matches source locations, which contain file names that look like calls, such as `callbacks`.
ORIGINS = re.compile(r"^#loc.*|metadata=\{[^}]*\}|loc\(.*\)")


def wrong_for_accelerators(program: str) -> list[str]:
    """Returns the lines of a program that call the host or have dynamic shapes."""
    lines = [ORIGINS.sub("", line).strip() for line in program.splitlines()]
    return [line[:300] for line in lines if HOST_CALLS.search(line) or UNKNOWN_SIZES.search(line)]


@contextlib.contextmanager
def lowered_programs() -> Iterator[list[str]]:
    """Yields a list. After the context, it holds the programs of the steps that XLA compiled within the context."""
    programs: list[str] = []
    with _of_jax(programs) if keras.backend.backend() == "jax" else _of_tensorflow(programs):
        yield programs


@contextlib.contextmanager
def _of_jax(programs: list[str]) -> Iterator[None]:
    """Collects all programs, because JAX dumps every program, including those between the steps."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        jax.config.update("jax_dump_ir_to", folder)
        try:
            yield
        finally:
            jax.config.update("jax_dump_ir_to", "")
            programs += [file.read_text() for file in sorted(pathlib.Path(folder).glob("*.mlir"))]


@contextlib.contextmanager
def _of_tensorflow(programs: list[str]) -> Iterator[None]:
    """Collects the programs of compiled steps. TensorFlow lowers a function again for the arguments of its calls."""
    import tensorflow as tf

    calls, function = {}, tf.function

    def noting(python_function=None, **arguments):
        made = function(python_function, **arguments)
        if getattr(python_function, "__name__", "") != "one_step_on_data" or not arguments.get("jit_compile"):
            return made

        def call(*values):
            calls.setdefault(id(made), (made, values))
            return made(*values)

        return call

    with mock.patch.object(tf, "function", noting):
        yield
    for made, values in calls.values():
        values = keras.tree.map_structure(lambda t: tf.zeros([size or 8 for size in t.shape], t.dtype), values)
        programs.append(made.experimental_get_compiler_ir(*values)(stage="hlo"))
        shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(values)]
        assert first_parameters(programs[-1], len(shapes)) == shapes, "XLA recompiles the step for every batch"


def first_parameters(program: str, number: int) -> list[tuple[int, ...]]:
    """Returns the shapes of the first parameters of a TensorFlow program. Constants are not parameters."""
    parameters = program.partition("entry_computation_layout={(")[2].partition(")->")[0]
    found = re.findall(r"\w+\[([\d,]*)\]", parameters)[:number]
    return [tuple(int(size) for size in shape.split(",") if size) for shape in found]


@contextlib.contextmanager
def only_what_accelerators_run(compiled: bool = True) -> Iterator[None]:
    """Asserts that training steps that XLA compiles in this context have static shapes and no host calls.

    Does nothing if XLA compiles nothing, or if `compiled` is False.
    """
    if not compiled or keras.backend.backend() == "torch":
        yield
        return
    with lowered_programs() as programs:
        yield
    assert programs, "XLA has compiled no step"
    wrong = [line for program in programs for line in wrong_for_accelerators(program)]
    assert not wrong, f"the compiled step calls the host, or has shapes that are not static: {wrong[:5]}"
