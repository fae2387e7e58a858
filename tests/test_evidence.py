"""Tests that the numbers in docs/ match the committed rows in benchmarks/evidence/."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import pathlib
import re

import numpy as np
import pytest
from scipy import stats

ROOT = pathlib.Path(__file__).parents[1]
DOCS, EVIDENCE = ROOT / "docs", ROOT / "benchmarks" / "evidence"
TUNING = 100  # Splits with this seed or a higher one were used to choose strengths.

pytestmark = pytest.mark.any_backend


@dataclasses.dataclass(frozen=True)
class Table:
    """Describes a table of a page, with the mean ± standard deviation over seeds.

    Attributes:
        page: The page that contains the table.
        rows: The file that contains the rows.
        groups: The columns that distinguish methods.
        cells: The column, factor and number of digits of each cell, in the order of the page. A list of columns means
            their mean.
        only: The values that rows must have.
        unit: The text after a number.
    """

    page: str
    rows: str
    groups: tuple[str, ...]
    cells: tuple[tuple[str | tuple[str, ...], float, int], ...]
    only: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    unit: tuple[str, ...] = ()


PRUNED = ("sparsity_mask", "polarization", "group_envelope")
TABLES = [
    Table(
        "few_samples",
        "anchors",
        ("method",),
        (("first", 100, 1), ("second", 100, 1), (("first", "second"), 100, 1)),
    ),
    Table("pruning", "pruning", ("method",), (("trained", 100, 1),)),
    Table(
        "pruning",
        "pruning",
        ("method",),
        (*((name, 100, 1) for name in ("trained", "pruned", "fine_tuned", "scratch")), ("parameters", 1, 3)),
        {"method": PRUNED},
    ),
    Table("pruning", "pruning", ("method",), (("parameters", 1, 3), ("speed_up", 1, 1)), {"method": PRUNED}),
    Table(
        "pruning",
        "low_rank",
        ("method",),
        (
            *((name, 100, 1) for name in ("trained", "factorized", "fine_tuned")),
            ("parameters", 1, 3),
            ("speed_up", 1, 2),
        ),
    ),
    Table(
        "policy_noise_mask",
        "policy_noise_mask",
        ("data", "arm"),
        (("accuracy", 100, 2), ("nll", 1, 3)),
        unit=(" %", ""),
    ),
    Table(
        "tabular_jepa",
        "tabular_jepa",
        ("data", "features"),
        (("linear", 1, 3), ("mlp", 1, 3), ("deviation", 1, 3), ("effective_rank", 1, 1), ("uniformity", 1, 2)),
        {"features": ("jepa-0", "jepa-1", "jepa-3")},
    ),
    Table(
        "self_tuning",
        "self_tuning_several",
        ("data", "method", "start", "budget"),
        (("tuning_nll", 1, 3), ("test_nll", 1, 3), ("test_accuracy", 100, 1)),
        unit=("", "", " %"),
    ),
    Table("tabular_jepa", "tabular_jepa", ("data",), (("linear", 1, 3), ("mlp", 1, 3)), {"features": ("plain",)}),
]


def rows_of(name: str) -> list[dict[str, str]]:
    with (EVIDENCE / f"{name}.csv").open() as lines:
        return [row for row in csv.DictReader(lines) if int(row["seed"]) < TUNING]


def cells_of(table: Table, rows: list[dict[str, str]]) -> str:
    cells = []
    for (names, factor, digits), unit in zip(table.cells, table.unit or [""] * len(table.cells), strict=True):
        names = (names,) if isinstance(names, str) else names
        values = factor * np.array([np.mean([float(row[name]) for name in names]) for row in rows])
        cells.append(f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}{unit}")
    return " | ".join(cells)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.page}-{table.rows}-{len(table.cells)}")
def test_documentation_tables_match_evidence_rows(table):
    text = (DOCS / f"{table.page}.md").read_text()
    rows = [row for row in rows_of(table.rows) if all(row[key] in given for key, given in table.only.items())]
    groups = dict.fromkeys(tuple(row[key] for key in table.groups) for row in rows)
    assert groups
    for group in groups:
        mine = [row for row in rows if tuple(row[key] for key in table.groups) == group]
        assert f"| {cells_of(table, mine)} |" in text, f"{table.page}.md has different numbers for {group}"


@pytest.mark.parametrize("card", ["early_learning_regularization", "progressive_self_distillation"])
def test_documentation_cards_match_cifar10n_rows(card, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(EVIDENCE))
    importlib.import_module("cifar10n").table()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    mine = [line for line in lines if card.startswith("early") or "early_learning" not in line]
    assert len(mine) > 2
    text = (DOCS / f"{card}.md").read_text()
    missing = [line for line in mine if line not in text]
    assert not missing, f"{card}.md has different numbers"


def differences() -> dict[str, tuple[str, str]]:
    """Returns the accuracy of each method on few samples, and its difference from training without a method."""
    scores: dict[str, dict[int, float]] = {}
    for row in rows_of("regularizers"):
        scores.setdefault(row["method"], {})[int(row["seed"])] = 100 * float(row["test"])
    found = {}
    for method, own in scores.items():
        base = scores["plain transformer" if "ttention" in method else "plain"]
        gain = np.array([own[seed] - base[seed] for seed in sorted(base)])
        half = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
        values = np.array(list(own.values()))
        difference = "-" if method.startswith("plain") else f"{gain.mean():+.2f} ± {half:.2f}"
        found[method] = f"{values.mean():.2f} ± {values.std(ddof=1):.2f}", difference
    return found


def test_few_samples_page_and_cards_have_equal_differences():
    text = (DOCS / "few_samples.md").read_text()
    for method, (score, difference) in differences().items():
        row = re.search(rf"^\|(.*)\|[^|]*\| {re.escape(score)} \| {re.escape(difference)} \|$", text, re.MULTILINE)
        assert row, f"few_samples.md has different numbers for {method}"
        for card in re.findall(r"\]\((\w+\.md)\)", row[1]):
            assert difference in " ".join((DOCS / card).read_text().split()), f"{card} has a different difference"


@pytest.fixture
def page_writer(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("write_page")


def test_step_time_tables_are_merged_side_by_side(page_writer):
    header = "| method | backend | compiled | model | plain (ms/step) | ratio | range |"
    tables = [
        [header, "|---|", "| a | jax | XLA | mlp | 1.50 | 1.256 | 1.101 to 1.309 |"],
        [
            header,
            "|---|",
            "| b | tensorflow | graph | mlp | 2.00 | 3.000 | 2.900 to 3.100 |",
            "| a | tensorflow | graph | mlp | 1.00 | 1.100 | 1.000 to 1.200 |",
            "| c | tensorflow | graph | normalized | 9.00 | 1.500 | 1.400 to 1.600 |",
        ],
    ]
    columns, _, *rows = [page_writer.cells(line) for line in page_writer.side_by_side(tables)]
    assert columns == ["method", "jax, XLA", "tensorflow, graph"]
    assert rows == [
        ["plain (ms)", "1.50 to 1.50", "1.00 to 2.00"],
        ["a", "1.26 (1.10 to 1.31)", "1.10 (1.00 to 1.20)"],
        ["b", "", "3.00 (2.90 to 3.10)"],
        ["c", "", "1.50 (1.40 to 1.60)"],
    ]


def test_documentation_cards_have_step_times_of_benchmark_page(page_writer):
    page = (DOCS / "benchmarks.md").read_text()
    named = []
    for card in DOCS.glob("*.md"):
        text = card.read_text()
        assert text == page_writer.filled(text, page), f"{card.name}: run benchmarks/write_page.py --cards"
        named += [name for match in page_writer.CARD.finditer(text) for name in match["names"].split(", ")]
    measured = [
        page_writer.cells(line)[0]
        for match in page_writer.TABLE.finditer(page)
        if match["beside"]
        for line in match["table"].splitlines()[3:]
    ]
    assert measured
    assert sorted(named) == sorted(set(measured)), "methods that were measured but that no card shows"
