"""Compares the statistics of the table with manually computed numbers."""

import io
import math

import pytest

from keras_reg.compare import cli, statistics
from keras_reg.compare.runs import Run, make_run_key
from keras_reg.compare.table import HEADINGS, build_table, format_row

pytestmark = pytest.mark.any_backend

pytest.importorskip("scipy")


def make_run(label, seed, test, validation=(0.5, 0.5, 0.5), seconds=(0.1, 1.0, 1.0), extra_bytes=0, found=None):
    history = {
        "val_accuracy": list(validation),
        "test_accuracy": list(test),
        "test_nll": [1.0, 2.0, 3.0],
        "test_ece": [0.1, 0.2, 0.3],
        "train_accuracy": [0.5, 0.6, 0.7],
        "seconds": list(seconds),
    }
    if found:
        history |= {"found": [found] * 3, "false_alarms": [0.0] * 3}
    return Run(label, seed, None, {}, history, None, extra_bytes, 1.0)


def test_estimate_interval_matches_manual_value():
    # The deviation is 1, so the half width is t(0.975, 2) / sqrt(3) with t = 4.302653.
    result = statistics.estimate([1.0, 2.0, 3.0])
    assert result.mean == 2.0
    assert result.half_width == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_estimate_of_one_seed_has_no_interval():
    assert statistics.estimate([0.5]).half_width is None


def test_paired_difference_uses_equal_seeds():
    result = statistics.estimate_difference([2.0, 4.0, 7.0], [1.0, 2.0, 4.0])
    assert result.mean == 2.0
    assert result.half_width == pytest.approx(4.302652729911275 / math.sqrt(3))


def test_paired_difference_rejects_unequal_lengths():
    with pytest.raises(ValueError, match="zip"):
        statistics.estimate_difference([1.0, 2.0], [1.0])


@pytest.fixture
def rows():
    runs = [
        make_run("plain", 0, (0.7, 0.9, 0.5), validation=(0.4, 0.6, 0.6)),
        make_run("other", 0, (0.6, 0.7, 0.8), validation=(0.1, 0.2, 0.3), seconds=(0.1, 2.0, 2.0), found=0.9),
        make_run("plain", 1, (0.7, 0.9, 0.6), validation=(0.7, 0.6, 0.5)),
        make_run("other", 1, (0.6, 0.7, 0.8), seconds=(0.1, 4.0, 4.0), extra_bytes=2048, found=0.7),
    ]
    return {(row["method"], row["epoch"]): row for row in build_table(runs, ["plain", "other"])}


def test_table_reports_last_and_chosen_epoch(rows):
    assert rows["plain", "last"]["test_accuracy"] == pytest.approx(0.55)
    # The chosen epochs are the second one of seed 0, which is the first of two equal ones, and the first of seed 1.
    assert rows["plain", "chosen"]["epochs"] == [2, 1]
    assert rows["plain", "chosen"]["test_accuracy"] == pytest.approx(0.8)
    assert rows["other", "chosen"]["epochs"] == [3, 1]


def test_table_reports_difference_to_plain(rows):
    row = rows["other", "last"]
    # The differences are 0.8 - 0.5 and 0.8 - 0.6. Their mean is 0.25, their deviation 0.1 / sqrt(2), and
    # t(0.975, 1) = 12.7062.
    assert row["test_accuracy_difference"] == pytest.approx(0.25)
    assert row["test_accuracy_difference_interval"] == pytest.approx(12.706204736 * (0.1 / math.sqrt(2)) / math.sqrt(2))
    assert rows["plain", "last"]["test_accuracy_difference"] == 0
    # At the chosen epochs, the differences are 0.8 - 0.9 and 0.6 - 0.7.
    assert rows["other", "chosen"]["test_accuracy_difference"] == pytest.approx(-0.1)


def test_table_step_time_excludes_first_epoch(rows):
    assert rows["other", "last"]["step_time_ratio"] == pytest.approx(3.0)
    assert rows["plain", "last"]["step_time_ratio"] == 1.0


def test_table_reports_memory_and_detection(rows):
    assert rows["other", "last"]["extra_memory_bytes"] == 2048
    assert rows["other", "last"]["found"] == pytest.approx(0.8)
    assert rows["plain", "last"]["found"] is None


def test_format_row_formats_table_cells(rows):
    cells = format_row(rows["other", "last"])
    assert len(cells) == len(HEADINGS)
    assert cells[2] == "80.0 ± 0.0 %"
    assert cells[3].startswith("+25.0 ± ")
    assert cells[7:9] == ["3.00", "2.0 KiB"]
    assert format_row(rows["plain", "last"])[3] == "-"


def test_table_omits_score_missing_for_one_seed():
    runs = [make_run("plain", 0, (0.7, 0.9, None)), make_run("plain", 1, (0.7, 0.9, 0.5))]
    (last, chosen) = build_table(runs, ["plain"])
    assert last["test_accuracy"] is None
    assert chosen["test_accuracy"] == pytest.approx(0.7)


def test_table_of_unfinished_comparison_uses_common_seeds():
    runs = [make_run("plain", seed, (0.5, 0.5, 0.1 * seed)) for seed in (0, 1, 2)]
    table = build_table([*runs, make_run("other", 2, (0.5, 0.5, 0.9))], ["plain", "other", "third"])
    assert [row["method"] for row in table] == ["plain", "plain", "other", "other"]
    assert table[2]["test_accuracy_difference"] == pytest.approx(0.7)
    assert table[2]["test_accuracy_difference_interval"] is None


def test_table_excludes_search_trials():
    trial = Run("plain", 0, 3, {}, make_run("plain", 0, (0, 0, 0)).history, None, 0, 1.0)
    (last, _) = build_table([make_run("plain", 0, (0.7, 0.9, 0.5)), trial], ["plain"])
    assert last["test_accuracy"] == 0.5


def test_table_renders_as_text_and_markdown():
    table = build_table([make_run("plain", 0, (0.7, 0.9, 0.5))], ["plain"])
    assert "50.0 %" in str(table)
    assert "±" not in str(table)
    assert table.markdown().count("\n") == 3


def test_run_keys_are_distinct_file_names():
    keys = {
        make_run_key("a:b=1", 0, None),
        make_run_key("a:b=1", 1, None),
        make_run_key("a:b=1", 0, 1),
        make_run_key("a:b=2", 0, None),
    }
    assert keys == {"a-b=1-seed0", "a-b=1-seed1", "a-b=1-seed0-trial1", "a-b=2-seed0"}


def test_narrow_terminal_shows_one_table_per_method():
    rich_table = pytest.importorskip("rich.table")
    console = pytest.importorskip("rich.console").Console(width=80, record=True, file=io.StringIO())
    runs = [make_run(label, seed, (0.7, 0.9, 0.5)) for label in ("plain", "other") for seed in (0, 1)]
    for table in cli._build_tables(build_table(runs, ["plain", "other"]), rich_table.Table):
        console.print(table)
    text = console.export_text()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.index("plain") < text.index("other")
    for heading in HEADINGS[2:]:
        assert text.count(heading) == 2
    assert "70.0 ± 0.0 %" in text
