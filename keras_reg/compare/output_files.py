"""Writes the files of a comparison to its folder."""

from __future__ import annotations

from keras_reg.compare.pictures import render_pngs
from keras_reg.compare.report import build_page
from keras_reg.compare.results import FIGURES, Comparison, make_rows
from keras_reg.compare.store import RESULTS, Store


def write_results(comparison: Comparison, store: Store) -> None:
    """Writes the tables. It is fast and is called after each run."""
    rows = [row for run in comparison.scored for row in make_rows(run)]
    header = ["method", "seed", "choice", "epoch", *FIGURES, "epoch_seconds", "extra_memory_bytes"]
    store.write_csv("results.csv", header, ([row[name] for name in header] for row in rows))
    suspected = ["method", "seed", "index", "given", "suggested", "true", "margin"]
    store.write_csv("suspected.csv", suspected, ([row[name] for name in suspected] for row in comparison.suspected))
    store.write_json(RESULTS, comparison.as_dict())


def write_report(comparison: Comparison, store: Store) -> None:
    """Writes the pictures and the page."""
    pictures = render_pngs(comparison)
    for kind, picture in pictures.items():
        store.write(f"{kind}.png", picture)
    store.write("index.html", build_page(comparison, pictures).encode())
