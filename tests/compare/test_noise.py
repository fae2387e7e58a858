"""Tests of the notation of label noise and of label files."""

import numpy as np
import pytest

from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError
from keras_reg.compare.noise import parse_noise

pytestmark = pytest.mark.any_backend

DATA = Dataset("data", np.zeros((40, 2), np.float32), np.arange(40) % 4, None, None, tuple("abcd"))
ALL = np.arange(40)


def test_noise_none_keeps_labels():
    np.testing.assert_array_equal(parse_noise("none").draw_labels(DATA, ALL, 0), DATA.y)


def test_parsed_symmetric_noise_has_given_rate_and_excludes_true_class():
    noise = parse_noise("symmetric:0.5")
    assert (noise.kind, noise.rate) == ("symmetric", 0.5)
    assert (noise.draw_labels(DATA, ALL, 0) != DATA.y).mean() == pytest.approx(0.5)
    assert (parse_noise("symmetric:1").draw_labels(DATA, ALL, 0) != DATA.y).all()


def test_parsed_asymmetric_noise_changes_labels_to_next_class():
    labels = parse_noise("asymmetric:0.5").draw_labels(DATA, ALL, 0)
    wrong = labels != DATA.y
    assert wrong.mean() == pytest.approx(0.5)
    np.testing.assert_array_equal(labels[wrong], (DATA.y[wrong] + 1) % 4)


def test_parsed_asymmetric_noise_of_cifar10_matches_literature():
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    data = Dataset("pictures", np.zeros((20, 2)), np.arange(20) % 10, None, None, names)
    labels = parse_noise("asymmetric:1").draw_labels(data, np.arange(10), 0)
    assert labels.tolist() == [0, 1, 0, 5, 7, 3, 6, 7, 8, 1]


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "txt"])
def test_parse_noise_reads_label_files(tmp_path, suffix):
    labels, path = (DATA.y + 1) % 4, tmp_path / f"labels.{suffix}"
    if suffix == "npy":
        np.save(path, labels)
    elif suffix == "npz":
        np.savez(path, noisy=labels)
    elif suffix == "csv":
        path.write_text("index,label\n" + "".join(f"{i},{label}\n" for i, label in enumerate(labels)))
    else:
        path.write_text("".join(f"{label}\n" for label in labels))
    noise = parse_noise(str(path))
    noise.check(DATA)
    np.testing.assert_array_equal(noise.draw_labels(DATA, np.array([3, 1]), 0), labels[[3, 1]])


def test_parse_noise_selects_array_by_name(tmp_path):
    path = tmp_path / "labels.npz"
    np.savez(path, clean_label=DATA.y, worse_label=(DATA.y + 2) % 4)
    np.testing.assert_array_equal(parse_noise(f"{path}#worse_label").labels, (DATA.y + 2) % 4)
    with pytest.raises(InputError, match=r"several arrays .clean_label, worse_label"):
        parse_noise(str(path))
    with pytest.raises(InputError, match="no array 'best'"):
        parse_noise(f"{path}#best")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symmetric", "needs a rate"),
        ("symmetric:", "needs a rate"),
        ("symmetric:lots", "needs a rate"),
        ("symmetric:1.5", "between 0 and 1"),
        ("asymmetric:-0.1", "between 0 and 1"),
        ("symmetric:nan", "between 0 and 1"),
        ("gaussian:0.4", "is not an existing file"),
    ],
)
def test_parse_noise_rejects_bad_notation(text, message):
    with pytest.raises(InputError, match=message):
        parse_noise(text)


def test_parse_noise_rejects_bad_label_files(tmp_path):
    path = tmp_path / "labels.npy"
    np.save(path, np.zeros(39, int))
    with pytest.raises(InputError, match="39 labels, but data has 40"):
        parse_noise(str(path)).check(DATA)
    np.save(path, np.full(40, 4))
    with pytest.raises(InputError, match="range from 4 to 4, but those of data from 0 to 3"):
        parse_noise(str(path)).check(DATA)
    np.save(path, np.full(40, 0.5))
    with pytest.raises(InputError, match="vector of integers"):
        parse_noise(str(path))
    (tmp_path / "labels.npz").write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="cannot be read"):
        parse_noise(str(tmp_path / "labels.npz"))
    (tmp_path / "labels.doc").write_text("1")
    with pytest.raises(InputError, match="none of these"):
        parse_noise(str(tmp_path / "labels.doc"))
