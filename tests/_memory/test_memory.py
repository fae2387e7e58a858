"""The table with a row per training sample."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._memory.memory import PerSampleMemory, last_occurrence
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
    held = memory.write(np.array([2, 0, 2, 2, 0]), np.arange(5, dtype="float32")[:, None])
    np.testing.assert_array_equal(array(held)[:, 0], [3, 4, 3, 3, 4])
    np.testing.assert_array_equal(memory.numpy()[:, 0], [4, 0, 3])


def test_per_sample_memory_ignores_masked_ids():
    memory = PerSampleMemory(2, 1)
    memory.write(np.array([0, 1]), np.ones((2, 1), "float32"))
    held = memory.write(np.array([-1, 5, -7, 1]), np.array([[7.0], [8.0], [9.0], [2.0]], "float32"))
    np.testing.assert_array_equal(array(held)[:, 0], [0, 0, 0, 2])
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


@pytest.mark.parametrize(("dtype", "beyond"), [("float16", 7e4), ("bfloat16", 3.4e38)])
def test_per_sample_memory_drops_values_beyond_stored_type(dtype, beyond):
    memory = PerSampleMemory(3, 2, dtype)
    memory.write(np.array([0, 1]), np.array([[1, beyond], [1, 2]], "float32"))
    np.testing.assert_array_equal(memory.numpy(), [[0, 0], [1, 2], [0, 0]])
    np.testing.assert_array_equal(memory.numpy_visited(), [False, True, False])


@NOT_ON_JAX
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_per_sample_memory_returns_values_as_stored(dtype):
    memory = PerSampleMemory(2, 1, dtype)
    value = np.array([[1.0009765]], "float32") if dtype != "int32" else np.array([[2**30 + 1]], "int32")
    held = memory.write(np.array([1]), value)
    values, _ = memory.read(np.array([1]), held.dtype if dtype == "int32" else "float32")
    np.testing.assert_array_equal(array(held), array(values))
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
        pytest.skip("a variable cannot be assigned inside a JAX transformation; the golden gradients cover it")
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
    """The lines of an optimized program that copy a whole array of this kind."""
    return [line for line in program.splitlines() if re.search(re.escape(kind) + r"\S* copy\(", line)]


@NOT_ON_JAX
def test_per_sample_memory_exchange_returns_old_rows_and_writes_new_rows():
    memory = PerSampleMemory(4, 2)
    memory.write(np.array([1, 2]), np.array([[1.0, 2.0], [3.0, 4.0]], "float32"))
    new = np.array([[5.0, 6.0], [7.0, 8.0], [np.nan, 9.0], [10.0, 11.0]], "float32")
    before, visited = memory.exchange(np.array([0, 1, 2, -1]), new)
    np.testing.assert_array_equal(array(before), [[0, 0], [1, 2], [3, 4], [0, 0]])
    np.testing.assert_array_equal(array(visited), [False, True, True, False])
    np.testing.assert_array_equal(memory.numpy(), [[5, 6], [7, 8], [3, 4], [0, 0]])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="what XLA makes of an exchange")
def test_per_sample_memory_exchange_copies_no_table():
    """The rows before are used in the gradient too, which XLA may compute after the new ones are written."""
    memory = PerSampleMemory(1000, 4)
    kernel = keras.Variable(np.ones((3, 4), "float32"))
    rows = [np.array([3, 5], "int32"), np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], "float32")]

    def loss(kernel, ids, x):
        logits = ops.matmul(x, kernel)
        before, visited = memory.exchange(ids, ops.softmax(logits))
        return -ops.sum(ops.where(visited[:, None], before, 0.5) * ops.log_softmax(logits))

    program = _of_jax(memory, kernel, loss, rows) if keras.backend.backend() == "jax" else _of_xla(kernel, loss, rows)
    assert "f32[1001,4]" in program
    assert not copies(program, "f32[1001,4]")


def _of_jax(memory, kernel, loss, rows):
    import jax

    def step(state, ids, x):
        with keras.StatelessScope(list(zip(memory.variables, state, strict=True))) as scope:
            gradient = jax.grad(loss)(kernel.value, ids, x)
        return [scope.get_current_value(variable) for variable in memory.variables], gradient

    state = [variable.value for variable in memory.variables]
    return jax.jit(step, donate_argnums=0).lower(state, *rows).compile().as_text()


def _of_xla(kernel, loss, rows):
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def step(ids, x):
        with tf.GradientTape() as tape:
            value = loss(kernel.value, ids, x)
        return tape.gradient(value, kernel.value)

    rows = [tf.constant(part) for part in rows]
    step(*rows)
    return step.experimental_get_compiler_ir(*rows)(stage="optimized_hlo")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="how TensorFlow updates a variable")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_per_sample_memory_updates_rows_in_place_on_tensorflow(jit_compile):
    """A step touches the rows of the batch: the buffer stays where it is, however often it was read in full before."""
    import tensorflow as tf

    memory = PerSampleMemory(1000, 4)
    variable = memory.values.value

    @tf.function(jit_compile=jit_compile)
    def step(ids, values):
        before, _ = memory.read(ids)
        return memory.write(ids, before + values)

    ids, values = tf.constant([3, 5]), tf.ones((2, 4))
    step(ids, values)
    if jit_compile:
        text = step.experimental_get_compiler_ir(ids, values)(stage="optimized_hlo")
        assert not copies(text, "f32[1001,4]")
        assert "input_output_alias" in text
        return
    graph = step.get_concrete_function(ids, values).graph
    reads = [op for op in graph.get_operations() if op.type == "ReadVariableOp"]
    assert variable.handle is not None
    assert not [op for op in reads if op.outputs[0].shape == (1001, 4)]
