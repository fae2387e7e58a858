"""Tests of rows in a file: their layout, and the rollback to checkpoints whenever the process is killed."""

from __future__ import annotations

import mmap
import tracemalloc

import numpy as np
import pytest

from keras_reg._memory import row_file
from keras_reg._memory.row_file import RowFile

pytestmark = pytest.mark.any_backend
ROWS, WIDTH = 50, 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows"


def open_file(path, dtype="float32"):
    return RowFile(str(path), ROWS, WIDTH, dtype)


def write_some(file, rng, writes=4):
    for _ in range(writes):
        rows = rng.integers(0, ROWS + 5, 7)
        file.write(np.minimum(rows, ROWS), rows[:, None] + rng.integers(0, 2) + np.zeros((7, WIDTH), "float32"))


def copy_state(file):
    return file.values.copy(), file.visited


def assert_state(file, expected):
    for array, expected_array in zip(copy_state(file), expected, strict=True):
        np.testing.assert_array_equal(array, expected_array)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_row_file_keeps_rows(path, dtype):
    open_file(path, dtype).write(np.array([4, ROWS, 0, 49]), np.arange(12, dtype=dtype).reshape(4, 3))
    file = open_file(path, dtype)
    values, visited = file.read(np.array([49, ROWS, 4, 1]))
    np.testing.assert_array_equal(values, [[9, 10, 11], [0, 0, 0], [0, 1, 2], [0, 0, 0]])
    np.testing.assert_array_equal(visited, [True, False, True, False])
    assert values.dtype == file.values.dtype == dtype
    np.testing.assert_array_equal(np.flatnonzero(file.visited), [0, 4, 49])
    np.testing.assert_array_equal(file.values[0], [6, 7, 8])
    with pytest.raises(ValueError, match="read-only"):
        file.values[0] = 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("back", [0, 1])
def test_row_file_rolls_back_to_latest_two_checkpoints(path, back, seed):
    """Reopens the file twice after more writes, as after a kill. Writes in between are also undone."""
    rng, file, checkpoints = np.random.default_rng(seed), open_file(path), []
    for _ in range(3):
        write_some(file, rng)
        checkpoints.append((file.checkpoint(), copy_state(file)))
    write_some(file, rng, seed)
    name, expected = checkpoints[-1 - back]
    for _ in range(2):
        file = open_file(path)
        with pytest.raises(ValueError, match="rows of another training"):
            file.begin()
        file.rollback(name)
        file.begin()
        assert_state(file, expected)
        np.testing.assert_array_equal(file.checkpoint(), name)
        write_some(file, rng)
    # The file continues from there: new checkpoints are the latest ones, and the abandoned checkpoint is gone.
    later = file.checkpoint(), copy_state(file)
    write_some(file, rng)
    for checkpoint, rows in (later, (name, expected)):
        open_file(path).rollback(checkpoint)
        assert_state(open_file(path), rows)
    with pytest.raises(ValueError, match=r"does not match `file`.*latest two.*Received: .*rows"):
        open_file(path).rollback(checkpoints[0][0] if back == 0 else checkpoints[-1][0])
    assert_state(open_file(path), expected)
    assert len(list(path.parent.glob("rows.undo-*"))) <= 2


def test_row_file_checkpoint_without_writes_equals_last_checkpoint(path):
    file = open_file(path)
    write_some(file, np.random.default_rng(0))
    name = file.checkpoint()
    np.testing.assert_array_equal(file.checkpoint(), name)
    assert name.dtype == "int32"
    write_some(file, np.random.default_rng(1))
    assert (file.checkpoint() != name).any()


def test_row_file_checkpoint_flushes_to_disk(path):
    file, flushed = open_file(path), []

    class Map:
        def flush(self):
            flushed.append(list(path.parent.glob("rows.undo-*")))

    file._map = Map()
    file.checkpoint()
    assert flushed == [[]]  # The flush happens before the journal begins.


def test_row_file_survives_kill_during_journal_write(path):
    """Truncates the last record of the journal, whose row was never overwritten."""
    file = open_file(path)
    write_some(file, np.random.default_rng(0))
    name, expected = file.checkpoint(), copy_state(file)
    write_some(file, np.random.default_rng(1))
    (journal,) = path.parent.glob("rows.undo-*")
    journal.write_bytes(journal.read_bytes() + b"\x07" * 11)
    file = open_file(path)
    file.rollback(name)
    assert_state(file, expected)


def test_row_file_survives_kill_between_journal_and_row(path, monkeypatch):
    """Checks that a row is in the journal before it is in the table."""
    file = open_file(path)
    name = file.checkpoint()
    monkeypatch.setattr(file._journal, "log_before_write", lambda rows: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        file.write(np.array([3]), np.ones((1, 3), "float32"))
    assert not file.values.any()
    assert not open_file(path)._header["written"][0]
    open_file(path).rollback(name)


@pytest.mark.parametrize("journal", ["before", "after"])
def test_row_file_survives_kill_during_checkpoint(path, monkeypatch, journal):
    file, rng = open_file(path), np.random.default_rng(0)
    write_some(file, rng)
    name, expected = file.checkpoint(), copy_state(file)
    write_some(file, rng)
    begin = file._journal.begin
    monkeypatch.setattr(file._journal, "begin", lambda new: [journal == "after" and begin(new), 1 / 0])
    with pytest.raises(ZeroDivisionError):
        file.checkpoint()
    file = open_file(path)
    file.rollback(name)
    assert_state(file, expected)


def test_row_file_survives_kill_during_rollback(path, monkeypatch):
    file, rng = open_file(path), np.random.default_rng(0)
    write_some(file, rng)
    name, expected = file.checkpoint(), copy_state(file)
    write_some(file, rng)
    file.checkpoint()
    write_some(file, rng)
    file = open_file(path)
    monkeypatch.setattr(file._journal, "begin", lambda new: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        file.rollback(name)
    with pytest.raises(ValueError, match="rows of another training"):
        file.begin()
    file = open_file(path)
    file.rollback(name)
    assert_state(file, expected)


def test_row_file_needs_journal_only_for_rollback(path):
    file = open_file(path)
    write_some(file, np.random.default_rng(0))
    name, expected = file.checkpoint(), copy_state(file)
    for journal in path.parent.glob("rows.undo-*"):
        journal.unlink()
    file = open_file(path)
    file.rollback(name)
    write_some(file, np.random.default_rng(1))
    for journal in path.parent.glob("rows.undo-*"):
        journal.unlink()
    with pytest.raises(ValueError, match="does not match `file`"):
        open_file(path).rollback(name)
    assert (file.values != expected[0]).any()


@pytest.mark.parametrize("name", [np.zeros(4, "int32"), np.arange(4, dtype="int32")])
def test_row_file_rejects_checkpoint_of_another_file(path, name):
    write_some(open_file(path), np.random.default_rng(0))
    with pytest.raises(ValueError, match="does not match `file`"):
        open_file(path).rollback(name)


@pytest.mark.parametrize("resumed", [False, True])
def test_row_file_rejects_two_trainings(path, resumed):
    """Checks that the run that claims the file last is the only one that can write."""
    first, second, rows = open_file(path), open_file(path), np.array([1])
    first.begin()
    if resumed:
        first.write(rows, np.ones((1, 3), "float32"))
        second.rollback(first.checkpoint())
    second.begin()
    for use in (lambda: first.write(rows, np.zeros((1, 3), "float32")), first.begin, first.checkpoint):
        with pytest.raises(ValueError, match=r"Each needs its own file.*Received: file='.*rows'"):
            use()
    assert first.values.any() == resumed
    second.begin()
    second.write(rows, np.full((1, 3), 2, "float32"))
    assert first.values[1, 0] == 2
    first.rollback(second.checkpoint())
    first.begin()
    with pytest.raises(ValueError, match="Each needs its own file"):
        second.begin()


def test_row_journal_stores_each_row_once(path):
    file = open_file(path)
    file.checkpoint()
    for _ in range(5):
        file.write(np.array([3, 8, 3]), np.ones((3, 3), "float32"))
    (journal,) = path.parent.glob("rows.undo-*")
    assert journal.stat().st_size == 2 * (8 + 1 + 3 * 4)


def test_row_file_rejects_bad_files(path):
    with pytest.raises(ValueError, match=r"in a folder that exists.*Received: file='.*nowhere/rows'"):
        open_file(path.parent / "nowhere" / "rows")
    with pytest.raises(ValueError, match=r"can be written.*Received"):
        open_file(path.parent)
    path.write_bytes(b"some")
    with pytest.raises(ValueError, match=r"the size of.* 50 rows of 3 values of float32.*Received: .* of 4 bytes"):
        open_file(path)
    assert path.read_bytes() == b"some"
    path.unlink()
    open_file(path)
    with pytest.raises(ValueError, match=r"must have the size"):
        RowFile(str(path), ROWS, WIDTH, "float16")
    with pytest.raises(ValueError, match=r"a table of this method with 75 rows of 2 values of float32"):
        RowFile(str(path), 75, 2, "float32")
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match=r"a table of this method"):
        open_file(path)


def test_row_file_raises_for_full_disk_on_opening(path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(row_file.os, "posix_fallocate", full)
    with pytest.raises(ValueError, match=r"bytes of free space.*No space left"):
        open_file(path)
    assert not path.exists()


@pytest.mark.parametrize("method", ["prefetch", "read"])
def test_row_file_prefetch_advises_pages_of_rows(path, method):
    file, calls = RowFile(str(path), 10, 1500, "float32"), []

    class Map:
        def madvise(self, *arguments):
            calls.append(arguments)

    file._map = Map()
    getattr(file, method)(np.array([9, 10, 2]))
    file.prefetch([-1, 11])
    # Rows of 6,000 bytes follow the page of the header and the page of the marks. Advice begins at a page.
    expected = [(8192 + 54000, 6000), (8192 + 12000, 6000)]
    assert [advice for advice, _, _ in calls] == [mmap.MADV_WILLNEED] * 2
    for (_, start, length), (begin, size) in zip(calls, expected, strict=True):
        assert start % mmap.PAGESIZE == 0
        assert begin - mmap.PAGESIZE < start <= begin
        assert start + length == begin + size


def test_row_file_does_not_load_table_into_memory(path):
    """Writes to a file of 64 MiB. One byte per sample stays in memory, and a second one while marks are read."""
    rows = 4096
    tracemalloc.start()
    file = RowFile(str(path), rows, 4096, "float32")
    for first in range(0, rows, 512):
        file.write(np.arange(first, first + 64), np.ones((64, 4096), "float32"))
    name = file.checkpoint()
    for first in range(0, 640, 64):
        file.write(np.arange(first, first + 64), np.full((64, 4096), 2, "float32"))
    file.rollback(name)
    np.testing.assert_array_equal(file.values[:640, 7], np.arange(640) % 512 < 64)
    assert file.visited.sum() == rows // 8
    assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
    tracemalloc.stop()
    assert path.stat().st_size == 4096 + rows + rows * 4096 * 4
