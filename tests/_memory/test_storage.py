"""Tests of storages (16-bit types, the largest classes, shards): their size, and that training does not change."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from keras import ops

from keras_reg._memory.top_k_memory import TopKMemory
from keras_reg.callbacks import EarlyLearningRegularization, ProgressiveSelfDistillation, Storage
from keras_reg.data import with_sample_ids
from keras_reg.ops import early_learning_penalty
from keras_reg.ops.early_learning import update_early_targets
from keras_reg.ops.top_k_rows import keep_top_k, spread_top_k
from tests.support.models import linear, problem
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.two_devices import call_on_two_devices

ROWS = np.random.default_rng(0).dirichlet(np.full(7, 0.3), size=5).astype("float32")
IDS = np.array([3, 1, 3, -1, 9])
# On JAX, eager steps are slow, because each operation is compiled separately.
MODE = {"run_eagerly": keras.backend.backend() != "jax"}
METHODS = [EarlyLearningRegularization, ProgressiveSelfDistillation]


def write_rows(storage, rows=ROWS):
    """Writes five rows to a table of 10 rows. Returns the table, and the results of `write` and of `read`."""
    memory = Storage.from_argument(storage).create(10, 7, "memory")
    stored = ops.convert_to_numpy(memory.write(IDS, rows))
    return memory, stored, ops.convert_to_numpy(memory.read(IDS)[0])


def set_initial_weights(model):
    model.set_weights([np.linspace(-1, 1, 30).reshape(6, 5), np.zeros(5)])
    return model


def classifier(**compile_arguments):
    return set_initial_weights(linear(**compile_arguments))


def data(model, ids=(0, 1, 1, 3, 4, 5, 6, -1, 8, 9, 8, 11)):
    x, y = problem(len(ids))
    return with_sample_ids(model, x["features"]) | {"sample_id": np.array(ids, "int32")}, y


def train(cls, storage, epochs=3, callback=None, model=None):
    """Returns weights and rows after a few epochs of gradient descent. Order and duplicates are always the same."""
    model = set_initial_weights(model or classifier(**MODE))
    x, y = data(model)
    callback = callback or cls(12, 5, storage=storage)
    model.fit(x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=[callback])
    return model.get_weights()[0], callback.memory.numpy()


@NOT_ON_JAX
@pytest.mark.parametrize("storage", ["float16", "bfloat16", Storage(top_k=2), Storage("bfloat16", top_k=3)])
def test_storage_returns_stored_values_in_the_step(storage):
    """Checks that the last duplicate wins, masked ids do nothing, and `write`, `read` and `numpy` agree exactly."""
    memory, stored, read = write_rows(storage)
    np.testing.assert_array_equal(stored, read)
    np.testing.assert_array_equal(stored[0], stored[2])
    assert not stored[3].any()
    expected = np.zeros((10, 7), "float32")
    expected[[1, 3, 9]] = stored[[1, 2, 4]]
    np.testing.assert_array_equal(memory.numpy(), expected)
    np.testing.assert_array_equal(memory.largest(), expected.argmax(axis=1))
    np.testing.assert_array_equal(memory.largest()[[1, 3, 9]], ROWS[[1, 2, 4]].argmax(axis=1))


@pytest.mark.parametrize(("storage", "digits"), [("float16", 11), ("bfloat16", 8)])
def test_half_type_storage_keeps_documented_digits(storage, digits):
    _, _, read = write_rows(storage)
    np.testing.assert_allclose(read[[1, 2, 4]], ROWS[[1, 2, 4]], rtol=2.0**-digits, atol=2.0**-25)
    np.testing.assert_allclose(read[[1, 2, 4]].sum(axis=1), 1, rtol=2.0**-digits)
    assert (read[[1, 2, 4]] != ROWS[[1, 2, 4]]).any()


def test_top_k_storage_keeps_largest_and_spreads_rest():
    _, stored, _ = write_rows(Storage(top_k=3))
    expected = ops.convert_to_numpy(spread_top_k(*keep_top_k(ROWS, 3), 7))
    np.testing.assert_array_equal(stored[[1, 2, 4]], expected[[1, 2, 4]])
    np.testing.assert_allclose(stored[[1, 2, 4]].sum(axis=1), 1, rtol=1e-6)


@NOT_ON_JAX
@pytest.mark.parametrize("k", [6, 7])
def test_top_k_storage_of_nearly_all_classes_is_exact(k):
    np.testing.assert_array_equal(write_rows(Storage(top_k=k))[1], write_rows(None)[1])


@NOT_ON_JAX
def test_top_k_storage_keeps_largest_of_each_sequence_step():
    memory = Storage(top_k=1).create(4, 3, "memory", length=2)
    rows = np.array([[0.5, 0.25, 0.25, 0.125, 0.25, 0.625]], "float32")
    stored = ops.convert_to_numpy(memory.write(np.array([2]), rows))
    np.testing.assert_array_equal(stored, [[0.5, 0.25, 0.25, 0.1875, 0.1875, 0.625]])
    np.testing.assert_array_equal(memory.numpy()[2], stored[0])


def test_top_k_storage_drops_nonfinite_values():
    rows = ROWS.copy()
    rows[0, 2], rows[1, 0], rows[2, 3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(write_rows(Storage(top_k=2), rows)[0].numpy_visited(), np.arange(10) == 9)


@pytest.mark.parametrize(
    ("storage", "expected"),
    [
        (None, 7 * 4 + 1),
        ("bfloat16", 7 * 2 + 1),
        (Storage(top_k=2), 2 * (4 + 2) + 4 + 1),
        (Storage("float16", top_k=3), 3 * (2 + 2) + 4 + 1),
    ],
)
def test_storage_bytes_per_sample_match_arrays(storage, expected):
    memory = Storage.from_argument(storage).create(1000, 7, "memory")
    assert memory.bytes_per_sample == expected
    variables = [v for v in memory.variables if len(v.shape)]
    assert sum(ops.convert_to_numpy(v).nbytes for v in variables) == pytest.approx(1001 * expected)


@NOT_ON_JAX
def test_top_k_storage_uses_four_byte_indices_for_many_classes():
    assert TopKMemory(3, 2**15, 4).bytes_per_sample == 4 * (4 + 2) + 4 + 1
    memory = TopKMemory(3, 2**15 + 1, 1)
    assert memory.bytes_per_sample == 4 + 4 + 4 + 1
    row = np.zeros((1, 2**15 + 1), "float32")
    row[0, -1] = 1.0
    np.testing.assert_array_equal(ops.convert_to_numpy(memory.write(np.array([1]), row)), row)
    assert memory.largest()[1] == 2**15


@NOT_ON_JAX
@pytest.mark.parametrize("cls", METHODS)
def test_top_k_storage_of_all_classes_trains_as_dense_storage(cls):
    """Compares weights bit for bit. With a narrower type they differ."""
    weights, rows = train(cls, None)
    for storage in ({"top_k": 4}, Storage("float32", top_k=5)):
        other = train(cls, storage)
        np.testing.assert_array_equal(other[0], weights)
        np.testing.assert_array_equal(other[1], rows)
    other, _ = train(cls, "bfloat16")
    assert 0 < np.abs(other - weights).max() < 0.02


@ON_TORCH
@pytest.mark.parametrize("storage", [Storage(top_k=2), "bfloat16"])
def test_early_learning_targets_update_from_stored_row(storage):
    """Compares loss and targets with two steps in NumPy. The test above covers gradients."""
    model = classifier()
    x, y = data(model, range(4))
    model.compile(keras.optimizers.SGD(0.0), model.loss, **MODE)
    callback = EarlyLearningRegularization(4, 5, storage=storage, epsilon=1e-6)
    logs = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[callback]).history
    p = ops.softmax(model.predict(x, verbose=0))

    def store(rows):
        if storage == "bfloat16":
            return ops.cast(ops.cast(rows, "bfloat16"), "float32")
        return spread_top_k(*keep_top_k(rows, 2), 5)

    first = store(update_early_targets(np.zeros((4, 5), "float32"), p))
    second = store(update_early_targets(first, p))
    expected = [3.0 * float(ops.mean(early_learning_penalty(t, p))) for t in (first, second)]
    np.testing.assert_allclose(logs["early_learning"], expected, rtol=1e-4)
    tolerance = 2e-3 * (storage == "bfloat16")
    np.testing.assert_allclose(callback.targets, ops.convert_to_numpy(second), rtol=1e-6, atol=tolerance)


@NOT_ON_JAX
def test_self_distillation_normalizes_rounded_rows():
    """Checks that targets sum to one: with constant predictions, the term is that of normalized rows."""
    model = classifier()
    x, y = data(model, range(12))
    model.compile(keras.optimizers.SGD(0.0), model.loss, **MODE)
    callback = ProgressiveSelfDistillation(12, 5, final_weight=1.0, schedule="constant", storage="bfloat16")
    logs = model.fit(x, y, epochs=2, batch_size=12, verbose=0, callbacks=[callback]).history
    p = ops.convert_to_numpy(ops.softmax(model.predict(x, verbose=0))).astype("float64")
    past = callback.memory.numpy().astype("float64")
    label = np.log(p)[np.arange(12), y].mean()
    normalized = label - (past / past.sum(1, keepdims=True) * np.log(p)).sum(1).mean()
    np.testing.assert_allclose(logs["self_distillation"][1], normalized, rtol=1e-5)
    assert abs(normalized - (label - (past * np.log(p)).sum(1).mean())) > 1e-5 * abs(normalized)


@ON_TORCH
@pytest.mark.parametrize("storage", [Storage("bfloat16", top_k=2)])
def test_storage_resumes_exactly(tmp_path, storage):
    """Resumes from a checkpoint of `fit`, and from a state file."""
    expected = train(EarlyLearningRegularization, storage, epochs=4)

    def train_part(epochs, callback, model):
        x, y = data(model)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(x, y, 4, epochs, verbose=0, shuffle=False, callbacks=[callback, backup])
        return model.get_weights()[0], callback.targets

    half, model = EarlyLearningRegularization(12, 5, storage=storage), classifier(**MODE)
    train_part(2, half, model)
    resumed = train_part(4, EarlyLearningRegularization(12, 5, storage=storage), classifier(**MODE))
    np.testing.assert_array_equal(resumed[0], expected[0])
    np.testing.assert_array_equal(resumed[1], expected[1])

    half.save_state(tmp_path / "state.npz")
    loaded = EarlyLearningRegularization(12, 5, storage=storage)
    loaded.load_state(tmp_path / "state.npz")
    train(None, None, epochs=1, callback=loaded)
    train(None, None, epochs=1, callback=half, model=model)
    np.testing.assert_array_equal(loaded.targets, half.targets)


@NOT_ON_JAX
def test_storage_rejects_checkpoint_of_another_storage(tmp_path):
    callback = EarlyLearningRegularization(12, 5, storage=Storage(top_k=2))
    train(None, None, epochs=1, callback=callback)
    callback.save_state(tmp_path / "state.npz")
    other = EarlyLearningRegularization(12, 5)
    other.load_state(tmp_path / "state.npz")
    with pytest.raises(ValueError, match=r"expected \(13, 5\). Was it saved with a different .*`storage`"):
        train(None, None, callback=other)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="graphs of TensorFlow")
@pytest.mark.parametrize("jit_compile", [False, True])
def test_top_k_storage_works_in_tensorflow_graphs(jit_compile):
    storage = Storage("bfloat16", top_k=2)
    expected = train(EarlyLearningRegularization, storage)
    model, callback = classifier(jit_compile=jit_compile), EarlyLearningRegularization(12, 5, storage=storage)
    x, y = data(model)
    model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0, callbacks=[callback])
    np.testing.assert_allclose(model.get_weights()[0], expected[0], atol=1e-5)
    np.testing.assert_allclose(callback.targets, expected[1], atol=1e-3)


@pytest.mark.any_backend
@pytest.mark.parametrize("storage", [None, "float16", Storage("bfloat16", top_k=3)])
@pytest.mark.parametrize("cls", METHODS)
def test_config_contains_storage(cls, storage):
    config = json.loads(json.dumps(cls(12, 5, storage=storage).get_config()))
    restored = cls.from_config(config)
    assert restored.get_config() == config
    assert restored.row_storage == Storage.from_argument(storage)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("float8", r"`dtype` must be one of .*Received: dtype='float8'"),
        (7, r"Storage`.*Received: storage=7"),
        (True, r"Received: storage=True"),
        ({"k": 3}, r"Received: storage=\{'k': 3\}"),
        ({"dtype": True}, r"Received: dtype=True"),
        ({"top_k": 0}, r"`top_k` must be an integer of at least 1 or None. Received: top_k=0"),
        ({"top_k": True}, r"Received: top_k=True"),
        ({"top_k": "a"}, r"Received: top_k='a'"),
        ({"top_k": 2.0}, r"Received: top_k=2.0"),
        ({"sharded": 1}, r"`sharded` must be True or False. Received: sharded=1"),
        ({"sharded": "no"}, r"Received: sharded='no'"),
        ({"sharded": None}, r"Received: sharded=None"),
    ],
)
def test_callback_rejects_bad_storage(storage, message):
    with pytest.raises(ValueError, match=message):
        EarlyLearningRegularization(12, 5, storage=storage)


@pytest.mark.any_backend
def test_storage_accepts_only_dtype_by_position():
    with pytest.raises(TypeError):
        Storage("float16", 2)
    assert Storage(top_k=np.int64(2)) == Storage(None, top_k=2, sharded=False, file=None)


@pytest.mark.any_backend
@pytest.mark.parametrize("arguments", [(2.5, 5, "memory"), (4, "a", "memory"), (4, 5, ""), (4, 5, "memory", True)])
@pytest.mark.parametrize("file", [False, True])
def test_storage_create_rejects_bad_arguments(tmp_path, arguments, file):
    with pytest.raises(ValueError, match=r"`(num_samples|num_classes|name|length)` must be .*Received: "):
        Storage(file=tmp_path / "rows" if file else None).create(*arguments)


def test_storage_rejects_unsuitable_models_and_backends():
    with pytest.raises(ValueError, match=r"larger than the number of classes.*top_k=6 with num_classes=5"):
        train(EarlyLearningRegularization, Storage(top_k=6))
    with pytest.raises(ValueError, match=r"no rows to store.*storage='float16'"):
        ProgressiveSelfDistillation(source="model", storage="float16")
    if keras.backend.backend() == "torch":
        with pytest.raises(ValueError, match=r"False on this backend.*Received: sharded=True.*'torch'"):
            Storage(sharded=True)


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch has no replicas")
def test_sharded_storage_on_one_replica_has_all_rows():
    memory, stored, read = write_rows(Storage(sharded=True))
    assert tuple(memory.values.shape) == (11, 7)
    assert memory.bytes_per_sample == 7 * 4 + 1
    np.testing.assert_array_equal(stored, write_rows(None)[1])
    np.testing.assert_array_equal(read, stored)


@pytest.mark.slow
@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="`test_mesh_rows.py` tests JAX")
def test_sharded_storage_trains_on_two_replicas_as_unsharded(tmp_path):
    """Compares weights and rows bit for bit, also after a resume. `compare` checks which rows each replica holds."""
    results = call_on_two_devices("tests._memory.shards", "compare", str(tmp_path))
    for name, storages in results.items():
        for other in list(storages)[1:]:
            assert storages[other] == storages["dense"], (name, other)
        assert all(np.isfinite(storages["dense"]["weights"]).ravel())


@pytest.mark.xdist_group("two devices")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a program sees the global batch on JAX")
def test_storage_rejects_out_of_range_id_of_second_replica():
    message = call_on_two_devices("tests._memory.shards", "reject_id_of_second_replica")
    assert "a sample id 17 with num_samples=13" in message
