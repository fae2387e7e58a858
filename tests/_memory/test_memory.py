"""Tests of the table with a row per training sample."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.row_access import last_occurrence
from tests.support.tiers import NOT_ON_JAX


def array(tensor):
    return ops.convert_to_numpy(tensor)


def test_per_sample_memory_reads_written_rows_and_zeros():
    memory = PerSampleMemory(6, 2)
    memory.write(np.array([4, 1]), np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))
    values, visited = memory.read(np.array([1, 0, 4]))
    np.testing.assert_array_equal(array(values), [[3, 4], [0, 0], [1, 2]])
    np.testing.assert_array_equal(array(visited), [True, False, True])
    np.testing.assert_array_equal(memory.numpy(), [[0, 0], [3, 4], [0, 0], [0, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(memory.numpy_visited(), [False, True, False, False, True, False])


def test_per_sample_memory_keeps_last_of_duplicate_ids():
    memory = PerSampleMemory(3, 1)
    stored = memory.write(np.array([2, 0, 2, 2, 0]), np.arange(5, dtype="float32")[:, None])
    np.testing.assert_array_equal(array(stored)[:, 0], [3, 4, 3, 3, 4])
    np.testing.assert_array_equal(memory.numpy()[:, 0], [4, 0, 3])


def test_per_sample_memory_ignores_masked_ids():
    memory = PerSampleMemory(2, 1)
    memory.write(np.array([0, 1]), np.ones((2, 1), "float32"))
    stored = memory.write(np.array([-1, 5, -7, 1]), np.array([[7.0], [8.0], [9.0], [2.0]], "float32"))
    np.testing.assert_array_equal(array(stored)[:, 0], [0, 0, 0, 2])
    np.testing.assert_array_equal(memory.numpy()[:, 0], [1, 2])
    values, visited = memory.read(np.array([-1, 5]))
    np.testing.assert_array_equal(array(values), [[0], [0]])
    np.testing.assert_array_equal(array(visited), [False, False])
    assert int(array(memory.out_of_range)) == 5


def test_per_sample_memory_counts_no_valid_id_as_out_of_range():
    memory = PerSampleMemory(2, 1)
    memory.write(np.array([1, -3]), np.ones((2, 1), "float32"))
    assert int(array(memory.out_of_range)) == 0


def test_per_sample_memory_drops_nonfinite_values():
    memory = PerSampleMemory(3, 2)
    memory.write(np.array([0, 1, 2]), np.array([[1, np.nan], [np.inf, 1], [1, 1]], "float32"))
    np.testing.assert_array_equal(memory.numpy(), [[0, 0], [0, 0], [1, 1]])
    np.testing.assert_array_equal(memory.numpy_visited(), [False, False, True])


@pytest.mark.parametrize(("dtype", "too_large"), [("float16", 7e4), ("bfloat16", 3.4e38)])
def test_per_sample_memory_drops_values_beyond_stored_type(dtype, too_large):
    memory = PerSampleMemory(3, 2, dtype)
    memory.write(np.array([0, 1]), np.array([[1, too_large], [1, 2]], "float32"))
    np.testing.assert_array_equal(memory.numpy(), [[0, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(memory.numpy_visited(), [False, True, False])


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_per_sample_memory_returns_values_as_stored(dtype):
    memory = PerSampleMemory(2, 1, dtype)
    value = np.array([[1.0009765]], "float32") if dtype != "int32" else np.array([[2**30 + 1]], "int32")
    stored = memory.write(np.array([1]), value)
    values, _ = memory.read(np.array([1]), stored.dtype if dtype == "int32" else "float32")
    np.testing.assert_array_equal(array(stored), array(values))
    expected = {"float16": 1.0009765625, "bfloat16": 1.0, "int32": 2**30 + 1}[dtype]
    assert array(values)[0, 0] == expected


def test_per_sample_memory_reset_keeps_rows():
    memory = PerSampleMemory(2, 1)
    memory.write(np.array([1]), np.ones((1, 1), "float32"))
    memory.reset_state()
    np.testing.assert_array_equal(memory.numpy(), [[0], [1]])


def test_per_sample_memory_stops_gradients():
    from tests.support.gradients import value_and_gradient

    if keras.backend.backend() == "jax":
        pytest.skip("JAX transformations cannot assign variables; the golden gradients cover JAX")
    memory = PerSampleMemory(2, 1)
    _, gradient = value_and_gradient(
        lambda x: ops.sum(memory.write(ops.convert_to_tensor(np.array([1])), x) * x), np.full((1, 1), 3.0, "float32")
    )
    np.testing.assert_array_equal(gradient, [[3.0]])


def test_last_occurrence_returns_last_index_of_each_row():
    rows = np.array([5, 3, 5, 9], "int32")
    np.testing.assert_array_equal(array(last_occurrence(rows, rows)), [2, 1, 2, 3])
    np.testing.assert_array_equal(array(last_occurrence(np.array([3], "int32"), rows)), [1])


def copies(program, kind):
    """Returns the lines of an optimized program that copy a whole array of this kind."""
    return [line for line in program.splitlines() if re.search(re.escape(kind) + r"\S* copy\(", line)]


@NOT_ON_JAX
def test_per_sample_memory_exchange_returns_old_rows_and_writes_new_rows():
    memory = PerSampleMemory(4, 2)
    memory.write(np.array([1, 2]), np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))
    new = np.array([[5.0, 6.0], [7.0, 8.0], [np.nan, 9.0], [10.0, 11.0]], "float32")
    old, visited = memory.exchange(np.array([0, 1, 2, -1]), new)
    np.testing.assert_array_equal(array(old), [[0, 0], [1, 2], [3, 4], [0, 0]])
    np.testing.assert_array_equal(array(visited), [False, True, True, False])
    np.testing.assert_array_equal(memory.numpy(), [[5, 6], [7, 8], [3, 4], [0, 0]])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="XLA compiles the exchange")
def test_per_sample_memory_exchange_copies_no_table():
    """Also uses the old rows in the gradient, which XLA may compute after the new rows are written."""
    memory = PerSampleMemory(1000, 4)
    kernel = keras.Variable(np.ones((3, 4), "float32"))
    rows = [np.array([3, 5], "int32"), np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "float32")]

    def loss(kernel, ids, x):
        logits = ops.matmul(x, kernel)
        old, visited = memory.exchange(ids, ops.softmax(logits))
        return -ops.sum(ops.where(visited[:, None], old, 0.5) * ops.log_softmax(logits))

    if keras.backend.backend() == "jax":
        program = compile_on_jax(memory, kernel, loss, rows)
    else:
        program = compile_on_tensorflow(kernel, loss, rows)
    assert "f32[1001,4]" in program
    assert not copies(program, "f32[1001,4]")


def compile_on_jax(memory, kernel, loss, rows):
    import jax

    def step(state, ids, x):
        with keras.StatelessScope(list(zip(memory.variables, state, strict=True))) as scope:
            gradient = jax.grad(loss)(kernel.value, ids, x)
        return [scope.get_current_value(variable) for variable in memory.variables], gradient

    state = [variable.value for variable in memory.variables]
    return jax.jit(step, donate_argnums=0).lower(state, *rows).compile().as_text()


def compile_on_tensorflow(kernel, loss, rows):
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def step(ids, x):
        with tf.GradientTape() as tape:
            value = loss(kernel.value, ids, x)
        return tape.gradient(value, kernel.value)

    rows = [tf.constant(part) for part in rows]
    step(*rows)
    return step.experimental_get_compiler_ir(*rows)(stage="optimized_hlo")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow updates variables in place")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_per_sample_memory_updates_rows_in_place_on_tensorflow(jit_compile):
    """Checks that a step changes only the rows of the batch, and neither copies nor reads the whole table."""
    import tensorflow as tf

    memory = PerSampleMemory(1000, 4)
    variable = memory.values.value

    @tf.function(jit_compile=jit_compile)
    def step(ids, values):
        old, _ = memory.read(ids)
        return memory.write(ids, old + values)

    ids, values = tf.constant([3, 5]), tf.ones((2, 4))
    step(ids, values)
    if jit_compile:
        text = step.experimental_get_compiler_ir(ids, values)(stage="optimized_hlo")
        assert not copies(text, "f32[1001,4]")
        assert "input_output_alias" in text
        return
    graph = step.get_concrete_function(ids, values).graph
    # Reading the whole variable would make the scatter copy its buffer.
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert variable.handle is not None
    assert not [op for op in reads if op.outputs[0].shape == (1001, 4)]


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be an integer of at least 1. Received: num_samples=0"),
        ({"num_samples": True}, "Received: num_samples=True"),
        ({"num_samples": "a"}, "Received: num_samples='a'"),
        ({"width": 2.0}, "`width` must be an integer of at least 1. Received: width=2.0"),
        ({"width": True}, "Received: width=True"),
        ({"dtype": "float8"}, r"`dtype` must be one of .*Received: dtype='float8'"),
        ({"dtype": None}, "Received: dtype=None"),
        ({"name": ""}, "`name` must be a string that is not empty. Received: name=''"),
        ({"sharded": "no"}, "`sharded` must be True or False. Received: sharded='no'"),
    ],
)
def test_per_sample_memory_rejects_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PerSampleMemory(**{"num_samples": 3, "width": 2, **arguments})
