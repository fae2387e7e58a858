"""Tests of splits: the parts are disjoint and stratified, and only the test part has clean labels."""

import numpy as np
import pytest

from keras_reg.compare.datasets import Dataset, load_dataset
from keras_reg.compare.errors import InputError
from keras_reg.compare.noise import Noise
from keras_reg.compare.splits import draw_stratified, split

pytestmark = pytest.mark.any_backend

NOISE = Noise("symmetric", 0.4)


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return load_dataset("digits")


def table(n=300, classes=3, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    x = rng.normal(3.0, 2.0, size=(n, 4)).astype(np.float32)
    return Dataset("table", x, y, kwargs.get("x_test"), kwargs.get("y_test"), tuple("abcdefgh"[:classes]))


@pytest.mark.parametrize("seed", [0, 1])
def test_split_of_digits_has_documented_sizes_and_disjoint_parts(digits, seed):
    parts = split(digits, NOISE, seed)
    assert [len(part.x) for part in (parts.train, parts.validation, parts.test)] == [1300, 197, 300]
    everything = np.concatenate([parts.train.index, parts.validation.index, parts.test.index])
    assert np.array_equal(np.sort(everything), np.arange(1797))


def test_split_keeps_samples_with_labels(digits):
    parts = split(digits, NOISE, 3)
    for part in (parts.train, parts.validation, parts.test):
        np.testing.assert_array_equal(part.x, digits.x[part.index])
        np.testing.assert_array_equal(part.true_labels, digits.y[part.index])


def test_split_adds_equal_noise_outside_of_test_part(digits):
    parts = split(digits, NOISE, 0)
    assert not parts.test.wrong.any()
    assert parts.train.wrong.mean() == pytest.approx(0.4, abs=0.002)
    assert parts.validation.wrong.mean() == pytest.approx(0.4, abs=0.005)
    assert not split(digits, Noise("none"), 0).train.wrong.any()


def test_split_stratifies_every_part(digits):
    parts = split(digits, NOISE, 0)
    shares = np.bincount(digits.y) / 1797
    for part in (parts.train, parts.validation, parts.test):
        counts = np.bincount(part.true_labels, minlength=10)
        assert np.abs(counts - shares * len(part.true_labels)).max() <= 2


def test_seed_determines_split_and_noise(digits):
    first, again, other = split(digits, NOISE, 0), split(digits, NOISE, 0), split(digits, NOISE, 1)
    np.testing.assert_array_equal(first.train.labels, again.train.labels)
    np.testing.assert_array_equal(first.train.index, again.train.index)
    assert not np.array_equal(first.train.index, other.train.index)
    assert not np.array_equal(first.train.wrong, other.train.wrong)


def test_split_respects_max_samples(digits):
    parts = split(digits, NOISE, 0, max_samples=300)
    assert len(parts.train.x) + len(parts.validation.x) + len(parts.test.x) == 300
    assert len(np.unique(parts.train.true_labels)) == 10


def test_split_rejects_too_few_samples_for_the_classes(digits):
    with pytest.raises(InputError, match="do not cover all classes"):
        split(digits, NOISE, 0, max_samples=9)


def test_split_standardizes_features_with_training_part_alone():
    data = table()
    parts = split(data, NOISE, 0)
    np.testing.assert_allclose(parts.train.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(parts.train.x.std(axis=0), 1, atol=1e-4)
    raw = data.x[parts.train.index].astype(np.float64)
    expected = (data.x[parts.test.index] - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(parts.test.x, expected, atol=1e-4)


def test_samples_outside_training_do_not_change_feature_scale():
    data = table()
    outside = split(data, NOISE, 0).test.index
    moved = data.x.copy()
    moved[outside] += 1e6
    other = Dataset("table", moved, data.y, None, None, data.class_names)
    np.testing.assert_array_equal(split(data, NOISE, 0).train.x, split(other, NOISE, 0).train.x)


def test_split_scales_constant_feature_to_zero():
    data = table()
    data.x[:, 1] = 5.0
    assert np.all(split(data, NOISE, 0).train.x[:, 1] == 0)


def test_split_keeps_separate_test_set_whole():
    rng = np.random.default_rng(1)
    data = table(x_test=rng.normal(size=(60, 4)).astype(np.float32), y_test=np.arange(60) % 3)
    parts = split(data, NOISE, 0)
    assert len(parts.test.x) == 60
    assert len(parts.train.x) + len(parts.validation.x) == 300
    assert not set(parts.train.index) & set(parts.validation.index)
    assert len(split(data, NOISE, 0, max_samples=30).test.x) == 30


def test_split_scales_bytes_to_unit_range():
    x = np.random.default_rng(0).integers(0, 256, size=(60, 4, 4, 3), dtype=np.uint8)
    x[0] = 255
    data = Dataset("images", x, np.arange(60) % 2, None, None, ("a", "b"))
    parts = split(data, Noise("none"), 0)
    assert parts.train.x.dtype == np.float32
    assert 0 <= parts.train.x.min() <= parts.train.x.max() <= 1
    np.testing.assert_allclose(parts.test.x, x[parts.test.index] / 255, atol=1e-6)


def test_stratified_draws_exact_number_of_samples():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 20)
    for size in (1, 7, 33, 99, 100):
        drawn = draw_stratified(labels, np.arange(100), size, np.random.default_rng(0))
        assert len(drawn) == len(set(drawn.tolist())) == size
        assert np.abs(np.bincount(labels[drawn], minlength=3) - size * np.array([0.5, 0.3, 0.2])).max() < 1
