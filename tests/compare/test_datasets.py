"""Tests of datasets: supported layouts and rejected contents."""

import keras
import numpy as np
import pytest

from keras_reg.compare import extras
from keras_reg.compare.datasets import load_dataset
from keras_reg.compare.errors import InputError
from tests.compare.data_files import encode, pictures, write_folder, write_npz

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("digits", (8, 8, 1), 10), ("wine", (13,), 3), ("breast_cancer", (30,), 2)]
)
def test_load_dataset_loads_bundled_data(name, shape, classes):
    pytest.importorskip("sklearn")
    data = load_dataset(name)
    assert data.x.shape[1:] == shape
    assert data.num_classes == classes
    assert data.is_image == (name == "digits")
    assert name != "digits" or (data.x.min() == 0 and data.x.max() == 1)


def test_load_dataset_reads_npz_with_and_without_test_set(tmp_path):
    data = load_dataset(write_npz(tmp_path / "plain.npz"))
    assert (data.name, data.num_classes, data.x_test) == ("plain", 3, None)
    x, y = np.zeros((9, 4, 4), np.float32), np.arange(9) % 3
    path = write_npz(tmp_path / "own.npz", x=None, y=None, x_train=x, y_train=y[:, None], x_test=x, y_test=y)
    data = load_dataset(path)
    assert data.x.shape == (9, 4, 4, 1)
    assert data.y.shape == (9,)
    assert data.y_test is not None


def test_load_dataset_reads_npz_of_jpeg_images(tmp_path):
    arrays = {}
    for part, count in (("train", 12), ("test", 6)):
        files = encode(pictures(count, seed=count))
        arrays[f"{part}_bytes"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_labels"] = np.arange(count) % 2
    path = write_npz(tmp_path / "jpeg.npz", x=None, y=None, class_names=np.array(["cat", "dog"]), **arrays)
    data = load_dataset(path)
    assert data.class_names == ("cat", "dog")
    assert data.x_test.shape == (6, 8, 8, 3)
    assert np.abs(data.x.astype(int) - pictures(12, seed=12)).max() < 8
    write_npz(path, x=None, y=None, **{**arrays, "train_offsets": arrays["train_offsets"][:-1]})
    with pytest.raises(InputError, match="11 samples but 12 labels"):
        load_dataset(path)


def test_load_dataset_reads_folder_of_images(tmp_path):
    root = write_folder(tmp_path / "pets")
    (root / "cat" / "notes.txt").write_text("no image")
    data = load_dataset(str(root))
    assert (data.name, data.class_names, data.x.shape) == ("pets", ("cat", "dog"), (12, 8, 8, 3))
    np.testing.assert_array_equal(data.x[:6], pictures(6, 8, 0))
    assert data.y.tolist() == [0] * 6 + [1] * 6


def test_load_dataset_resizes_images_to_most_common_size(tmp_path):
    root = write_folder(tmp_path / "pets")
    (root / "dog" / "big.png").write_bytes(encode(pictures(1, 20), "PNG")[0])
    assert load_dataset(str(root)).x.shape == (13, 8, 8, 3)


def test_load_dataset_reads_folder_with_train_and_test(tmp_path):
    write_folder(tmp_path / "train")
    write_folder(tmp_path / "test", count=3)
    data = load_dataset(str(tmp_path))
    assert data.x.shape[0] == 12
    assert data.x_test.shape[0] == 6


BAD_ARRAYS = {
    "labels below zero": ({"y": np.arange(60) % 3 - 1}, "they go from -1 to 1"),
    "a gap in the classes": ({"y": np.arange(60) % 2 * 7}, "class 1 has 0 samples"),
    "labels beyond the names": ({"class_names": np.array(["a", "b"])}, "from 0 to 1; they go from 0 to 2"),
    "one class": ({"y": np.zeros(60, int)}, "all 60 labels are the same class"),
    "no samples": ({"x": np.zeros((0, 5)), "y": np.zeros(0, int)}, "non-empty"),
    "no labels": ({"y": np.zeros(0, int)}, "60 samples but 0 labels"),
    "lengths": ({"y": np.arange(59) % 3}, "60 samples but 59 labels"),
    "not a number": ({"x": np.full((60, 5), np.nan)}, "300 values of the samples are NaN"),
    "infinite": ({"x": np.full((60, 5), np.inf)}, "NaN or infinite"),
    "words": ({"x": np.full((60, 5), "word")}, "must be numbers"),
    "labels with fractions": ({"y": np.linspace(0, 1, 60)}, "vector of integers"),
    "one-hot labels": ({"y": np.eye(3)[np.arange(60) % 3]}, "vector of integers"),
    "no known names": ({"y": None, "labels": np.arange(60)}, "must contain x and y"),
    "a single axis": ({"x": np.zeros(60)}, "its shape is"),
    "pickled objects": ({"x": np.array([{}] * 60)}, "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_load_dataset_rejects_bad_arrays(tmp_path, case):
    changes, message = BAD_ARRAYS[case]
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(write_npz(tmp_path / "bad.npz", **changes))
    assert "\n" not in str(caught.value)


def test_load_dataset_rejects_test_part_that_does_not_match(tmp_path):
    x, y = np.zeros((9, 4), np.float32), np.arange(9) % 3
    names = {"x": None, "y": None, "x_train": x, "y_train": y}
    with pytest.raises(InputError, match="given together"):
        load_dataset(write_npz(tmp_path / "bad.npz", **names, x_test=x))
    with pytest.raises(InputError, match=r"shape \(5,\), training samples \(4,\)"):
        load_dataset(write_npz(tmp_path / "bad.npz", **names, x_test=np.zeros((9, 5)), y_test=y))
    with pytest.raises(InputError, match="they go from 1 to 3"):
        load_dataset(write_npz(tmp_path / "bad.npz", **names, x_test=x, y_test=y + 1))


def test_load_dataset_rejects_bad_files(tmp_path):
    with pytest.raises(InputError, match="neither one of digits"):
        load_dataset(str(tmp_path / "missing.npz"))
    (tmp_path / "data.csv").write_text("1")
    with pytest.raises(InputError, match=r"must be an \.npz file"):
        load_dataset(str(tmp_path / "data.csv"))
    (tmp_path / "data.npz").write_bytes(b"PK but no zip")
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        load_dataset(str(tmp_path / "data.npz"))
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match="contains no images"):
        load_dataset(str(tmp_path / "empty"))
    (tmp_path / "empty" / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.png cannot be read"):
        load_dataset(str(tmp_path / "empty"))


def test_load_dataset_reports_failed_download(monkeypatch):
    def offline():
        raise Exception("URL fetch failure on https://example.org: None -- name not known")

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", offline)
    with pytest.raises(InputError, match=r"cifar10 is not on this machine and could not be downloaded \(URL fetch"):
        load_dataset("cifar10")


def test_missing_package_error_names_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(InputError, match=r"scikit-learn is needed .* pip install 'keras_reg\[compare\]'"):
        load_dataset("digits")
    with pytest.raises(InputError, match="no_such_package is needed"):
        extras.load("no_such_package.part")
