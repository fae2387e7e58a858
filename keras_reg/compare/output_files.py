"""The files that a comparison writes to its folder."""

from __future__ import annotations

from keras_reg.compare.pictures import all_pngs
from keras_reg.compare.report import page
from keras_reg.compare.results import FIGURES, Comparison, rows_of
from keras_reg.compare.store import RESULTS, Store


def write_results(comparison: Comparison, store: Store) -> None:
    """Writes the tables. It is cheap, and is called after each run."""
    rows = [row for run in comparison.scored for row in rows_of(run)]
    header = ["method", "seed", "choice", "epoch", *FIGURES, "epoch_seconds", "extra_memory_bytes"]
    store.write_csv("results.csv", header, ([row[name] for name in header] for row in rows))
    suspected = ["method", "seed", "index", "given", "suggested", "true", "margin"]
    store.write_csv("suspected.csv", suspected, ([row[name] for name in suspected] for row in comparison.suspected))
    store.write_json(RESULTS, comparison.as_dict())


def write_report(comparison: Comparison, store: Store) -> None:
    """Writes the pictures and the page."""
    pictures = all_pngs(comparison)
    for kind, picture in pictures.items():
        store.write(f"{kind}.png", picture)
    store.write("index.html", page(comparison, pictures).encode())
