"""Tests of sample ids for `tf.data.Dataset` and `keras.utils.PyDataset`."""

import pickle

import keras
import numpy as np
import pytest

from keras_reg.data import SAMPLE_ID, accept_sample_ids, with_sample_ids
from tests.data.models import ROWS, Subclassed, TakesDict, functional, gap_model, rows
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

# --- tf.data.Dataset ---


@pytest.fixture
def tf():
    return pytest.importorskip("tensorflow")


def ids_of(dataset):
    """Returns the ids and the row numbers (the first feature) of all samples."""
    ids, numbers = [], []
    for element in dataset:
        x = element[0] if isinstance(element, tuple) else element
        assert x[SAMPLE_ID].dtype == "int32"
        ids += np.ravel(x[SAMPLE_ID]).tolist()
        numbers += np.reshape(x["image"], (-1, 4))[:, 0].astype(int).tolist()
    return ids, numbers


@ON_TORCH
@pytest.mark.parametrize(("parts", "batch"), [(0, None), (0, 6), (1, 6), (2, None), (2, 6), (3, None)])
def test_with_sample_ids_numbers_tf_dataset_elements(tf, parts, batch):
    x, y = rows()
    whole = (x, y, np.ones(ROWS, "float32"))[:parts] if parts else x
    dataset = tf.data.Dataset.from_tensor_slices(whole)
    numbered = with_sample_ids(functional(), dataset.batch(batch) if batch else dataset, start=3)
    assert ids_of(numbered) == (list(range(3, ROWS + 3)), list(range(ROWS)))
    spec = numbered.element_spec
    assert (len(spec) if isinstance(spec, tuple) else 0) == parts
    if parts > 1:
        assert np.ravel(next(iter(numbered))[1]).tolist() == y[: batch or 1].tolist()


def test_with_sample_ids_accepts_tf_dataset_of_several_inputs(tf):
    x, y = rows()
    model = functional(("image", "right"), "list")
    for inputs in ({"image": x, "right": x}, (x, x)):
        numbered = with_sample_ids(model, tf.data.Dataset.from_tensor_slices((inputs, y)).batch(6))
        assert sorted(numbered.element_spec[0]) == ["image", "right", SAMPLE_ID]
        assert ids_of(numbered)[0] == list(range(ROWS))
    with pytest.raises(ValueError, match=r"Missing: \['right'\]"):
        with_sample_ids(model, tf.data.Dataset.from_tensor_slices(({"image": x}, y)))


def test_sample_ids_of_tf_dataset_follow_rows_through_shuffling(tf):
    x, y = rows()
    model = gap_model()
    numbered = with_sample_ids(model, tf.data.Dataset.from_tensor_slices((x, y)))
    history = model.fit(numbered.shuffle(ROWS).batch(6).repeat(2), shuffle=False, verbose=0).history
    assert history["loss"] == [0.0]
    too_late = with_sample_ids(model, tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS, seed=1).batch(6))
    assert model.fit(too_late, shuffle=False, verbose=0).history["loss"][0] > 1.0


def test_with_sample_ids_wraps_ids_of_infinite_tf_dataset(tf):
    x, y = rows(5)
    endless = tf.data.Dataset.from_tensor_slices((x, y)).repeat()
    for dataset in (endless, endless.batch(3), tf.data.Dataset.from_tensor_slices((x, y)).batch(3).repeat()):
        with pytest.raises(ValueError, match=r"before `repeat\(\)`.*num_samples=None"):
            with_sample_ids(functional(), dataset)
        ids, numbers = ids_of(with_sample_ids(functional(), dataset, num_samples=5).take(9))
        assert ids == numbers
        assert max(ids) == 4
        ids, _ = ids_of(with_sample_ids(functional(), dataset, start=4, num_samples=5).take(2))
        assert ids[:2] == [4, 0]


def test_with_sample_ids_rejects_tf_dataset_longer_than_num_samples(tf):
    x, y = rows(6)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    model = functional()
    assert ids_of(with_sample_ids(model, dataset, num_samples=6))[0] == list(range(6))
    for longer in (dataset, dataset.batch(3, drop_remainder=True)):
        with pytest.raises(ValueError, match="num_samples=5"):
            with_sample_ids(model, longer, num_samples=5)
    # A length that becomes known only while the data are read raises then.
    for unknown in (dataset.batch(4), dataset.filter(lambda *_: True), dataset.filter(lambda *_: True).batch(4)):
        assert ids_of(with_sample_ids(model, unknown, num_samples=6))[0] == list(range(6))
        with pytest.raises(tf.errors.InvalidArgumentError, match="more samples than num_samples=5"):
            ids_of(with_sample_ids(model, unknown, num_samples=5))


def test_with_sample_ids_needs_batched_for_ambiguous_tf_shapes(tf):
    model = keras.Sequential([keras.Input((4, 1), name="image"), keras.layers.Flatten()])
    batches = tf.data.Dataset.from_tensor_slices(np.zeros((8, 4), "float32")).batch(2)  # Keras adds the last axis.
    with pytest.raises(ValueError, match="batched=True"):
        with_sample_ids(model, batches)
    numbered = with_sample_ids(model, batches, batched=True)
    assert [element[SAMPLE_ID].numpy().tolist() for element in numbered] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    single = tf.data.Dataset.from_tensor_slices(np.zeros((8, 4, 1), "float32"))
    assert [int(element[SAMPLE_ID]) for element in with_sample_ids(model, single)] == list(range(8))


def test_with_sample_ids_numbers_tf_dataset_for_adapter_without_shapes(tf):
    x, y = rows()
    model = accept_sample_ids(Subclassed())
    single = tf.data.Dataset.from_tensor_slices((x, y))
    for dataset in (single, single.batch(6)):
        numbered = with_sample_ids(model, dataset)
        assert np.concatenate([np.ravel(element[0][SAMPLE_ID]) for element in numbered]).tolist() == list(range(ROWS))
        assert sorted(numbered.element_spec[0]) == ["inputs", SAMPLE_ID]
    with pytest.raises(ValueError, match="batched=True"):
        with_sample_ids(model, single.batch(5, drop_remainder=True))
    dictionary = tf.data.Dataset.from_tensor_slices(({"left": x, "right": x}, y)).batch(6)
    numbered = with_sample_ids(accept_sample_ids(TakesDict()), dictionary)
    assert sorted(numbered.element_spec[0]) == ["left", "right", SAMPLE_ID]


def test_with_sample_ids_rejects_tf_elements_of_four(tf):
    x, y = rows()
    with pytest.raises(ValueError, match="a tuple of 4"):
        with_sample_ids(functional(), tf.data.Dataset.from_tensor_slices((x, y, y, y)))


# --- keras.utils.PyDataset ---


class Batches(keras.utils.PyDataset):
    """Returns rows in batches, in a fixed order."""

    def __init__(self, size=6, parts=2, count=ROWS, **kwargs):
        super().__init__(**kwargs)
        self.x, self.y = rows(count)
        self.size = size
        self.parts = parts

    @property
    def num_batches(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, index):
        part = slice(index * self.size, (index + 1) * self.size)
        return (self.x[part], self.y[part], np.ones(len(self.y[part]), "float32"))[: self.parts]


class Reshuffled(Batches):
    """Returns rows in an order that changes after every epoch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.order = np.arange(ROWS)
        self.calls = []

    def on_epoch_begin(self):
        self.calls.append("begin")

    def on_epoch_end(self):
        self.calls.append("end")
        self.order = np.random.default_rng(len(self.calls)).permutation(ROWS)

    def __getitem__(self, index):
        part = self.order[index * self.size : (index + 1) * self.size]
        return self.x[part], self.y[part]


class Known(Reshuffled):
    """Returns rows in a changing order, and the ids of the samples in a batch."""

    def sample_ids(self, index):
        return self.order[index * self.size : (index + 1) * self.size]


def numbers(dataset):
    batches = [dataset[index] for index in range(dataset.num_batches)]
    assert all(batch[0][SAMPLE_ID].dtype == np.int32 for batch in batches)
    return np.concatenate([batch[0][SAMPLE_ID] for batch in batches]).tolist(), batches


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_with_sample_ids_wraps_py_dataset(parts):
    original = Batches(parts=parts, workers=2, use_multiprocessing=False, max_queue_size=7)
    numbered = with_sample_ids(functional(), original, start=10)
    ids, batches = numbers(numbered)
    assert ids == list(range(10, 10 + ROWS))
    assert [len(batch) for batch in batches] == [parts] * 4
    np.testing.assert_array_equal(batches[3][0]["image"], original.x[18:])
    assert (numbered.workers, numbered.use_multiprocessing, numbered.max_queue_size) == (2, False, 7)
    assert isinstance(numbered, keras.utils.PyDataset)
    assert numbers(pickle.loads(pickle.dumps(numbered)))[0] == ids  # Worker processes receive a copy.


@NOT_ON_JAX
@pytest.mark.parametrize("workers", [1, 2])
def test_model_fits_numbered_py_dataset(workers):
    model = gap_model()
    numbered = with_sample_ids(model, Batches(workers=workers))
    assert model.fit(numbered, epochs=2, shuffle=True, verbose=0).history["loss"] == [0.0, 0.0]


def test_with_sample_ids_uses_ids_of_reshuffled_py_dataset():
    model = gap_model()
    known = Known()
    numbered = with_sample_ids(model, known, num_samples=ROWS)
    assert model.fit(numbered, epochs=3, shuffle=False, verbose=0).history["loss"] == [0.0] * 3
    assert known.calls.count("end") >= 3
    assert known.calls.count("begin") >= 3
    assert sorted(numbers(numbered)[0]) == list(range(ROWS)) != numbers(numbered)[0]
    # Without the method `sample_ids` there is a warning, and it is correct.
    with pytest.warns(UserWarning, match=r"Reshuffled.*`on_epoch_(begin|end)`.*sample_ids\(index\)") as record:
        unknown = with_sample_ids(model, Reshuffled())
    assert all(warning.filename == __file__ for warning in record)
    assert model.fit(unknown, epochs=3, shuffle=False, verbose=0).history["loss"][2] > 1.0


def test_with_sample_ids_checks_num_samples_of_py_dataset():
    with_sample_ids(functional(), Batches(), num_samples=ROWS)
    with pytest.raises(ValueError, match="num_samples=18"):
        with_sample_ids(functional(), Batches(), num_samples=18)
    numbered = with_sample_ids(functional(), Batches(), num_samples=19)  # The last batch may have a single sample.
    with pytest.raises(ValueError, match="num_samples=19"):
        numbered[3]
    with pytest.raises(ValueError, match="num_samples=5"):
        with_sample_ids(functional(), Known(), num_samples=5)[0]


def test_with_sample_ids_rejects_growing_py_dataset_batches():
    class Growing(Batches):
        def __getitem__(self, index):
            return self.x[: self.size + index], self.y[: self.size + index]

    numbered = with_sample_ids(functional(), Growing())
    assert len(numbered[0][0][SAMPLE_ID]) == 6
    with pytest.raises(ValueError, match="Batch 1 has 7 samples, more than batch 0 with 6"):
        numbered[1]


def test_with_sample_ids_accepts_endless_py_dataset():
    class Endless(Batches):
        num_batches = None

    class EndlessKnown(Endless):
        def sample_ids(self, index):
            return [index, index]

        def __getitem__(self, index):
            return self.x[:2], self.y[:2]

    with pytest.raises(ValueError, match=r"infinite.*sample_ids\(index\)"):
        with_sample_ids(functional(), Endless())
    numbered = with_sample_ids(functional(), EndlessKnown())
    assert numbered.num_batches is None
    assert numbered[7][0][SAMPLE_ID].tolist() == [7, 7]
    with pytest.raises(ValueError, match="no batches"):
        with_sample_ids(functional(), Batches(count=0))


@pytest.mark.parametrize("ids", [[0, 1, 2], np.zeros((6, 1), int), np.arange(6.0), [-1, 0, 1, 2, 3, 4]])
def test_with_sample_ids_rejects_bad_ids_of_py_dataset(ids):
    class Bad(Batches):
        def sample_ids(self, index):
            return ids

    with pytest.raises(ValueError, match=r"`sample_ids\(0\)` of Bad must return"):
        with_sample_ids(functional(), Bad())[0]


def test_with_sample_ids_accepts_py_dataset_batches_of_lists_or_arrays():
    class Listed(Batches):
        def __getitem__(self, index):
            return list(super().__getitem__(index))

    class Bare(Batches):
        def __getitem__(self, index):
            return {"image": super().__getitem__(index)[0]}

    for dataset in (Listed(), Bare()):
        assert numbers(with_sample_ids(functional(), dataset))[0] == list(range(ROWS))
