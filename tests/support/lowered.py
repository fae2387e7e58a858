"""The programs that XLA is given while a model trains, as text: what a TPU would be asked to do."""

from __future__ import annotations

import contextlib
import pathlib
import re
import tempfile
from collections.abc import Iterator
from unittest import mock

import keras

#: What a program asks of its host while it runs, in the texts of JAX and of TensorFlow.
HOST_CALLS = re.compile(r"callback|outfeed|infeed|pyfunc|\b(send|recv)(-done)?\(|stablehlo\.(send|recv)", re.IGNORECASE)
#: A size that only a run would tell: `tensor<?x3xf32>` of JAX, `f32[<=8,3]` of TensorFlow.
UNKNOWN_SIZES = re.compile(r"tensor<[^>]*\?|\[<=|,<=")
#: Where in the source a line comes from: there stand names of files, such as those of callbacks.
ORIGINS = re.compile(r"^#loc.*|metadata=\{[^}]*\}|loc\(.*\)")


def wrong_for_accelerators(program: str) -> list[str]:
    """The lines of a program that call the host, or have no static shape."""
    lines = [ORIGINS.sub("", line).strip() for line in program.splitlines()]
    return [line[:300] for line in lines if HOST_CALLS.search(line) or UNKNOWN_SIZES.search(line)]


@contextlib.contextmanager
def lowered_programs() -> Iterator[list[str]]:
    """A list that has, after the context, the programs of the training steps that were compiled by XLA in it."""
    programs: list[str] = []
    with _of_jax(programs) if keras.backend.backend() == "jax" else _of_tensorflow(programs):
        yield programs


@contextlib.contextmanager
def _of_jax(programs: list[str]) -> Iterator[None]:
    """JAX writes every program down, those between the steps too."""
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
    """TensorFlow tells the program of a function that XLA compiles, once more for what it was called with."""
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
        assert first_parameters(programs[-1], len(shapes)) == shapes, "XLA compiles the step anew for every batch"


def first_parameters(program: str, number: int) -> list[tuple[int, ...]]:
    """The shapes of the first parameters of a program of TensorFlow; what it was compiled for is none of them."""
    parameters = program.partition("entry_computation_layout={(")[2].partition(")->")[0]
    found = re.findall(r"\w+\[([\d,]*)\]", parameters)[:number]
    return [tuple(int(size) for size in shape.split(",") if size) for shape in found]


@contextlib.contextmanager
def only_what_accelerators_run(compiled: bool = True) -> Iterator[None]:
    """Asserts that the training steps that XLA compiles in this context call no host and have static shapes.

    Where nothing is compiled by XLA, as `compiled` may say, it asserts nothing.
    """
    if not compiled or keras.backend.backend() == "torch":
        yield
        return
    with lowered_programs() as programs:
        yield
    assert programs, "XLA has compiled no step"
    wrong = [line for program in programs for line in wrong_for_accelerators(program)]
    assert not wrong, f"the compiled step calls the host, or has shapes that are not static: {wrong[:5]}"
