"""Tests of complete comparisons on the current backend: files, resuming, the page and the command line."""

import csv
import html.parser
import json

import keras
import pytest

import keras_reg
from keras_reg.compare import cli
from keras_reg.compare.progress import Progress
from keras_reg.compare.training import Trainer
from keras_reg.version import __version__
from tests.support.tiers import NOT_ON_JAX, ON_TORCH

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

ARGUMENTS = ["compare", "--epochs", "2", "--seeds", "2", "--max-samples", "240", "--batch-size", "60"]
ARGUMENTS += ["--methods", "early_learning"]
RUNS = 4
# One worker runs the comparison for all of these tests.
FINISHED = pytest.mark.xdist_group("finished comparison")


def read(folder, name):
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Runs a comparison without interruption, and returns its folder."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert cli.main([*ARGUMENTS, "--out", str(folder)]) == 0
    return folder


@ON_TORCH
@FINISHED
def test_comparison_writes_all_files(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    runs = [f"{method}-seed{seed}" for method in ("plain", "early_learning") for seed in (0, 1)]
    assert names == {
        "index.html", "results.csv", "results.json", "suspected.csv",
        "summary.png", "learning-curves.png", "suspected-labels.png",
        *(f"runs/{run}.json" for run in runs), *(f"history/{run}.csv" for run in runs),
    }  # fmt: skip
    assert len(read(finished, "history/plain-seed0.csv")) == 2


@ON_TORCH
@FINISHED
def test_comparison_writes_results_csv(finished):
    rows = read(finished, "results.csv")
    assert [(row["method"], row["seed"], row["choice"]) for row in rows] == [
        (method, seed, choice)
        for seed in ("0", "1")
        for method in ("plain", "early_learning")
        for choice in ("last", "chosen")
    ]
    for row in rows:
        assert 0 <= float(row["test_accuracy"]) <= 1
        assert (row["found"] == "") == (row["method"] == "plain")
        assert row["extra_memory_bytes"] == ("0" if row["method"] == "plain" else str(174 * 41))


@ON_TORCH
@FINISHED
def test_comparison_results_depend_on_seed(finished):
    figures = {(row["method"], row["choice"], row["test_nll"]) for row in read(finished, "results.csv")}
    assert len(figures) == 2 * RUNS


@NOT_ON_JAX
@FINISHED
def test_comparison_writes_results_json(finished):
    results = json.loads((finished / "results.json").read_text())
    assert results["arguments"]["seeds"] == [0, 1]
    assert results["environment"]["backend"] == keras.backend.backend()
    assert results["environment"]["keras_reg"] == __version__
    assert results["data"]["train"] == 174
    assert results["data"]["wrong_labels_train"] == pytest.approx(0.4, abs=0.01)
    assert (results["finished_runs"], results["planned_runs"]) == (RUNS, RUNS)
    assert [method["label"] for method in results["methods"]] == ["plain", "early_learning"]
    assert len(results["table"]) == 4


@NOT_ON_JAX
@FINISHED
def test_suspected_csv_matches_results(finished):
    rows = [row for row in read(finished, "suspected.csv") if row["seed"] == "0"]
    last = next(row for row in read(finished, "results.csv") if row["method"] == "early_learning")
    wrong = round(0.4 * 174)
    found = sum(row["given"] != row["true"] for row in rows)
    assert float(last["found"]) == pytest.approx(found / wrong)
    assert float(last["false_alarms"]) == pytest.approx((len(rows) - found) / (174 - wrong))
    assert all(row["suggested"] != row["given"] for row in rows)
    margins = [float(row["margin"]) for row in rows]
    assert margins == sorted(margins, reverse=True)


class _Page(html.parser.HTMLParser):
    """Collects the references of a page, its text, and the tags that are not closed."""

    def __init__(self):
        super().__init__()
        self.references, self.open, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@NOT_ON_JAX
@FINISHED
def test_comparison_page_is_self_contained(finished):
    content = (finished / "index.html").read_text("utf-8")
    page = _Page()
    page.feed(content)
    assert page.open == []
    assert len(page.references) == 3
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    for word in ("http:", "https:", "url(", "@import", "<script", "<link"):
        assert word not in content
    assert "--max-samples 240" in page.text
    assert "early learning" in page.text


class _Stop(Progress):
    """Stops a comparison in the middle of its second run."""

    def __init__(self, error):
        self.runs, self.error = 0, error

    def start_run(self, title, epochs):
        self.runs += 1

    def epoch(self, figures):
        if self.runs == 2:
            raise self.error


@ON_TORCH
@FINISHED
def test_interrupted_comparison_resumes_to_same_results(finished, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    command = [*ARGUMENTS, "--out", str(out)]
    monkeypatch.setattr("keras_reg.compare.progress.make_progress", lambda shown: _Stop(KeyboardInterrupt()))
    assert cli.main(command) == 130
    assert f"finished runs are in {str(out)!r}, add --resume to continue" in capsys.readouterr().err
    assert len(read(out, "results.csv")) == 2
    monkeypatch.undo()

    trained = []
    train = Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, *args: trained.append(args[0].label) or train(self, *args))
    assert cli.main([*command, "--resume"]) == 0
    assert len(trained) == RUNS - 1

    timing = {"epoch_seconds"}
    resumed, whole = read(out, "results.csv"), read(finished, "results.csv")
    assert resumed[0].keys() == whole[0].keys()
    for row, expected in zip(resumed, whole, strict=True):
        for name in row.keys() - timing:
            if "_" in name and row[name]:
                assert float(row[name]) == pytest.approx(float(expected[name]), abs=1e-5), name
            else:
                assert row[name] == expected[name], name


@ON_TORCH
def test_crashed_comparison_keeps_finished_runs(tmp_path):
    from keras_reg.compare.runner import compare
    from keras_reg.compare.settings import Settings

    settings = Settings(dataset="wine", epochs=1, seeds=(0,))
    with pytest.raises(RuntimeError, match="out of memory"):
        compare(settings, tmp_path / "out", progress=_Stop(RuntimeError("out of memory")))
    assert len(read(tmp_path / "out", "results.csv")) == 2


@NOT_ON_JAX
@FINISHED
def test_compare_cli_rejects_existing_results_and_changed_arguments(finished, capsys):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    command = [*ARGUMENTS, "--out", str(finished)]
    assert cli.main(command) == 2
    assert "already contains results; add --resume, --overwrite" in capsys.readouterr().err
    assert cli.main([*command, "--resume", "--epochs", "3"]) == 2
    assert "epochs was 2 and is now 3" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}


@ON_TORCH
@FINISHED
def test_json_option_prints_only_json_to_stdout(finished, capsys):
    assert cli.main([*ARGUMENTS, "--out", str(finished), "--resume", "--json"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out) == json.loads((finished / "results.json").read_text())


@ON_TORCH
def test_compare_run_tunes_on_a_table(monkeypatch):
    monkeypatch.setattr("keras_reg.compare.tuning.list_trials", lambda variant, settings: ({"learning_rate": 0.01},))
    result = keras_reg.compare.run(
        "wine", "asymmetric:0.2", ["early_learning:strength=1"], seeds=1, epochs=1, tune=True, progress=False
    )
    assert isinstance(result, keras_reg.compare.Comparison)
    assert [row["method"] for row in result.table] == ["plain"] * 2 + ["early_learning:strength=1"] * 2
    assert result.table[0]["test_accuracy_interval"] is None
    assert len(result.runs) == 2 + 2
    assert len(result.scored) == result.as_dict()["finished_runs"] == 2
    assert {run.seed for run in result.runs if run.trial is not None} == {result.settings.tuning_seed}
    assert "plain (tuned)" in str(result.table)
    assert result.tuned["plain"] == {"learning_rate": 0.01}
    assert keras_reg.compare.plot(result).axes
    assert keras_reg.compare.plot(result, "suspected-labels") is None
    assert "found by the search" in keras_reg.compare.to_html(result)
    with pytest.raises(ValueError, match="`kind` must be one of"):
        keras_reg.compare.plot(result, "pie")


@ON_TORCH
def test_cosine_schedule_spans_every_step(monkeypatch):
    """Checks that the last batch of an epoch, which is smaller, counts as a step."""
    spans, schedule = [], keras.optimizers.schedules.CosineDecay

    def record(rate, steps):
        spans.append(steps)
        return schedule(rate, steps)

    monkeypatch.setattr(keras.optimizers.schedules, "CosineDecay", record)
    settings = {"methods": ["plain"], "seeds": 1, "epochs": 2, "batch_size": 50, "schedule": "cosine"}
    samples = keras_reg.compare.run("wine", progress=False, **settings).as_dict()["data"]["train"]
    assert samples % 50
    assert set(spans) == {2 * (samples // 50 + 1)}
