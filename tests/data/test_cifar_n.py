"""Tests that the published label files are read correctly, and that no code of a file runs."""

import collections
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from keras_reg.data import load_cifar10n, load_cifar100n
from tests.support.tiers import ON_TORCH

pytestmark = pytest.mark.any_backend

CIFAR10N = ("clean_label", "aggre_label", "worse_label", "random_label1", "random_label2", "random_label3")
REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10n_labels.npz"


@pytest.fixture(autouse=True)
def seeds():
    """Replaces the fixture for all tests, because these tests create no Keras state and clearing it is slow."""


def labels10(n=50):
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 10, n) for name in CIFAR10N}


def labels100(n=50, noisy="noisy_label"):
    rng = np.random.default_rng(0)
    coarse = {name: rng.integers(0, 20, n).tolist() for name in ("clean_coarse_label", "noisy_coarse_label")}
    return {"clean_label": rng.integers(0, 100, n), noisy: rng.integers(0, 100, n), **coarse}


def assert_same(labels, expected):
    assert list(labels) == list(expected)
    for name, array in expected.items():
        assert labels[name].dtype == np.int64
        np.testing.assert_array_equal(labels[name], array)


def write_zip(path, pickled, member="archive/data.pkl"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, pickled)
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path, pickled):
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + pickled + pickle.dumps([], 2))
    return path


def write_npy(path, value):
    np.save(path, value, allow_pickle=True)
    return path


@ON_TORCH
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
def test_load_cifar_n_reads_torch_files(tmp_path, zipped, ordered):
    torch = pytest.importorskip("torch")
    path = tmp_path / "labels.pt"
    make = collections.OrderedDict if ordered else dict
    torch.save(make(labels10()), path, _use_new_zipfile_serialization=zipped)
    assert_same(load_cifar10n(path), labels10())
    torch.save(make(labels100()), path, _use_new_zipfile_serialization=zipped)
    assert_same(load_cifar100n(str(path)), labels100())


@pytest.mark.parametrize("write", [write_zip, write_legacy])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_load_cifar_n_reads_all_pickle_protocols(tmp_path, write, protocol):
    for dtype in ("int64", "uint8", ">i4"):
        labels = {name: array.astype(dtype) for name, array in labels10().items()}
        assert_same(load_cifar10n(write(tmp_path / "labels.pt", pickle.dumps(labels, protocol))), labels10())


def test_load_cifar_n_reads_files_of_numpy_1_and_2(tmp_path):
    new = pickle.dumps(labels10(), 2)
    for old in (new.replace(b"numpy._core", b"numpy.core"), new.replace(b"numpy.core", b"numpy._core")):
        assert_same(load_cifar10n(write_zip(tmp_path / "labels.pt", old)), labels10())


def test_load_cifar_n_reads_npz(tmp_path):
    np.savez(tmp_path / "labels.npz", **{name: array.astype("uint8") for name, array in labels10().items()})
    assert_same(load_cifar10n(tmp_path / "labels.npz"), labels10())


def test_load_cifar_n_reads_npy(tmp_path):
    assert_same(load_cifar10n(write_npy(tmp_path / "labels.npy", labels10())), labels10())
    # The published file has lists of NumPy integers, and a different name for the noisy labels.
    lists = {name: list(np.asarray(array)) for name, array in labels100(noisy="noise_label").items()}
    assert isinstance(lists["noise_label"][0], np.integer)
    assert_same(load_cifar100n(write_npy(tmp_path / "labels.npy", lists)), labels100())


def test_load_cifar_n_accepts_subset_of_labels(tmp_path):
    some = {name: labels10()[name] for name in ("worse_label", "clean_label")}
    np.savez(tmp_path / "labels.npz", **some)
    assert list(load_cifar10n(tmp_path / "labels.npz")) == ["clean_label", "worse_label"]


def test_load_cifar_n_returns_writable_arrays(tmp_path):
    labels = load_cifar10n(write_zip(tmp_path / "labels.pt", pickle.dumps(labels10())))
    labels["clean_label"][0] = 3
    assert labels["clean_label"][0] == 3


# --- Malicious and damaged files ---


class Evil:
    """Calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def evil_npy(path, pickled):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
        file.write(pickled)
    return path


WRITERS = [(write_zip, "labels.pt"), (write_legacy, "labels.pt"), (evil_npy, "labels.npy")]


@pytest.mark.parametrize(("write", "name"), WRITERS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_load_cifar_n_rejects_code_without_running_the_code(tmp_path, write, name, protocol):
    ran = tmp_path / "ran"
    for evil in (
        Evil(os.system, f"touch {ran}"),
        Evil(os.mkdir, str(ran)),
        Evil(eval, f"open({str(ran)!r}, 'w')"),
        Evil(np.save, str(ran), np.zeros(1)),
        Evil(getattr, dict, "fromkeys"),
    ):
        path = write(tmp_path / name, pickle.dumps({**labels10(), "extra": evil}, protocol))
        with pytest.raises(ValueError, match=r"it asks for `.*`, which no label file needs"):
            load_cifar10n(path)
        assert sorted(os.listdir(tmp_path)) == [name]
    pickle.loads(pickle.dumps(Evil(os.mkdir, str(ran)), protocol))  # The ordinary unpickler runs the code.
    assert ran.exists()


def test_load_cifar_n_rejects_code_in_legacy_header(tmp_path):
    ran = tmp_path / "ran"
    path = tmp_path / "labels.pt"
    path.write_bytes(pickle.dumps(Evil(os.mkdir, str(ran)), 2))
    with pytest.raises(ValueError, match="it asks for"):
        load_cifar10n(path)
    assert not ran.exists()


def test_load_cifar_n_rejects_npz_with_pickled_arrays(tmp_path):
    ran = tmp_path / "ran"
    np.savez(tmp_path / "labels.npz", clean_label=np.array([Evil(os.mkdir, str(ran))], dtype=object))
    with pytest.raises(ValueError, match="not a readable label file"):
        load_cifar10n(tmp_path / "labels.npz")
    assert not ran.exists()


@pytest.mark.parametrize(
    "value",
    [
        {"clean_label": np.array([0.5])},
        {"clean_label": np.array([object], dtype=object)},
        {"clean_label": np.array(["a"])},
        {"clean_label": np.zeros(3, dtype=[("a", "O")])},
        {"clean_label": np.zeros((3, 2), int)},
        {"clean_label": [0.5, 1.5]},
        {"clean_label": ["a"]},
        {"clean_label": None},
        {"clean_label": {1: 2}},
        [1, 2, 3],
        np.arange(3),
    ],
)
@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_load_cifar_n_rejects_other_content(tmp_path, write, name, value):
    with pytest.raises(ValueError, match=r"labels\.(pt|npy)' is not a readable label file: "):
        load_cifar10n(write(tmp_path / name, pickle.dumps(value, 2)))


def test_load_cifar_n_rejects_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"clean_label": torch.arange(3)}, tmp_path / "labels.pt")
    with pytest.raises(ValueError, match=r"torch\._utils\._rebuild_tensor_v2"):
        load_cifar10n(tmp_path / "labels.pt")


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz"])
def test_load_cifar_n_rejects_damaged_files(tmp_path, suffix):
    good = io.BytesIO(pickle.dumps(labels10(), 2))
    for content in (b"", b"nonsense", b"PK\x03\x04 cut off", b"\x80\x02", good.getvalue()[:200], b"\x93NUMPY\x01\x00"):
        path = tmp_path / f"labels{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a readable label file"):
            load_cifar10n(path)
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        load_cifar10n(write_zip(tmp_path / "labels.pt", good.getvalue(), member="archive/other.pkl"))
    with pytest.raises(ValueError, match="not a readable"):
        load_cifar10n(write_npy(tmp_path / "labels.npy", np.arange(5)))


def test_load_cifar_n_rejects_missing_file_and_wrong_suffix(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"labels of CIFAR-10N .*Received: no file"):
        load_cifar10n(tmp_path / "labels.pt")
    with pytest.raises(FileNotFoundError, match="CIFAR-100N"):
        load_cifar100n(tmp_path)
    path = tmp_path / "labels.csv"
    path.write_text("clean_label\n1\n")
    with pytest.raises(ValueError, match=r"end in one of \['.npy', '.npz', '.pt'\].*labels.csv"):
        load_cifar10n(path)


def npz(tmp_path, **labels):
    np.savez(tmp_path / "labels.npz", **labels)
    return tmp_path / "labels.npz"


def test_load_cifar_n_rejects_wrong_labels(tmp_path):
    good = labels10()
    with pytest.raises(ValueError, match=r"same length.*'worse_label': 49"):
        load_cifar10n(npz(tmp_path, **{**good, "worse_label": good["worse_label"][:-1]}))
    with pytest.raises(ValueError, match=r"'worse_label' must be from 0 to 9 for CIFAR-10N.*10 to 10"):
        load_cifar10n(npz(tmp_path, **{**good, "worse_label": np.full(50, 10)}))
    with pytest.raises(ValueError, match=r"'clean_label' must be from 0 to 9 .*Received: -1"):
        load_cifar10n(npz(tmp_path, **{**good, "clean_label": good["clean_label"] - 1}))
    with pytest.raises(ValueError, match="CIFAR-10N has the labels"):
        load_cifar10n(npz(tmp_path, **labels100()))
    with pytest.raises(ValueError, match="CIFAR-100N has the labels"):
        load_cifar100n(npz(tmp_path, **good))
    with pytest.raises(ValueError, match="the clean labels and some noisy labels"):
        load_cifar10n(npz(tmp_path, clean_label=good["clean_label"]))
    with pytest.raises(ValueError, match="the same length, above 0"):
        load_cifar10n(npz(tmp_path, **{name: array[:0] for name, array in good.items()}))
    with pytest.raises(ValueError, match="'noisy_coarse_label' must be from 0 to 19"):
        load_cifar100n(npz(tmp_path, **{**labels100(), "noisy_coarse_label": np.full(50, 20)}))


@pytest.mark.skipif(not REAL.is_file(), reason="the published labels are not available")
def test_load_cifar_n_reads_published_labels():
    labels = load_cifar10n(REAL)
    assert list(labels) == list(CIFAR10N)
    assert labels["clean_label"][:8].tolist() == [6, 9, 9, 4, 1, 1, 2, 7]
    rates = {name: round(float((labels[name] != labels["clean_label"]).mean()), 4) for name in CIFAR10N}
    assert rates == {
        "clean_label": 0.0,
        "aggre_label": 0.0901,
        "random_label1": 0.1723,
        "random_label2": 0.1812,
        "random_label3": 0.1764,
        "worse_label": 0.4021,
    }
