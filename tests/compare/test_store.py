"""Tests of the folder of a comparison: files are written atomically, and other files are not changed."""

import json

import pytest

from keras_reg.compare.errors import InputError
from keras_reg.compare.runs import Run
from keras_reg.compare.store import RESULTS, Store

pytestmark = pytest.mark.any_backend

ARGUMENTS = {"epochs": 3, "seeds": [0, 1]}
RUN = Run("plain", 0, None, {}, {"seconds": [1.0, 2.0], "val_accuracy": [0.5, None]}, None, 0, 3.0)


def open_store(folder, arguments=ARGUMENTS, resume=False, overwrite=False):
    store = Store(folder)
    store.open(arguments, resume, overwrite)
    return store


@pytest.fixture
def folder(tmp_path):
    store = open_store(tmp_path / "a" / "out")
    store.add(RUN)
    store.write_json(RESULTS, {"arguments": ARGUMENTS})
    return store.folder


def test_store_returns_run_of_resumed_folder(folder):
    assert open_store(folder, resume=True).get(RUN.key) == RUN
    assert (folder / "history" / "plain-seed0.csv").read_text() == "epoch,seconds,val_accuracy\n1,1.0,0.5\n2,2.0,\n"


def test_store_rejects_existing_results_without_resume(folder):
    with pytest.raises(InputError, match="already contains results; add --resume"):
        open_store(folder)
    assert (folder / "runs" / "plain-seed0.json").exists()


def test_store_overwrite_removes_only_results(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "runs" / "mine.json").write_text("mine")
    store = open_store(folder, overwrite=True)
    assert store.get(RUN.key) is None
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["mine.json", "notes.txt"]


def test_store_does_not_change_unrelated_folder(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "a-seed0.json").write_text("mine")
    open_store(tmp_path)
    assert (tmp_path / "runs" / "a-seed0.json").read_text() == "mine"
    (tmp_path / RESULTS).write_text("{}")
    for choice in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises(InputError):
            open_store(tmp_path, **choice)
    assert (tmp_path / RESULTS).read_text() == "{}"


def test_store_rejects_resuming_with_other_arguments(folder):
    with pytest.raises(InputError, match="epochs was 3 and is now 4"):
        open_store(folder, {**ARGUMENTS, "epochs": 4}, resume=True)
    with pytest.raises(InputError, match="strategy was None and is now 'mirrored'"):
        open_store(folder, {**ARGUMENTS, "strategy": "mirrored"}, resume=True)


def test_store_rejects_unreadable_results(folder):
    (folder / RESULTS).write_text("{")
    with pytest.raises(InputError, match="does not belong to a comparison"):
        open_store(folder, resume=True)
    (folder / RESULTS).write_text(json.dumps({"arguments": ARGUMENTS}))
    (folder / "runs" / "plain-seed0.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        open_store(folder, resume=True)


def test_store_rejects_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        open_store(tmp_path / "file" / "out")


def test_failed_write_keeps_old_file(folder, monkeypatch):
    store = open_store(folder, resume=True)
    store.write("results.csv", b"old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.write("results.csv", b"new")
    assert (folder / "results.csv").read_bytes() == b"old"


def test_store_without_folder_keeps_runs_in_memory():
    store = open_store(None)
    store.add(RUN)
    assert store.get(RUN.key) is RUN
