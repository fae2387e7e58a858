"""Builds the page of a comparison, which is one self-contained HTML file."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from keras_reg.compare import tuning
from keras_reg.compare.methods import TRIALS
from keras_reg.compare.pictures import render_pngs
from keras_reg.compare.report_text import describe_measurement, describe_noise, format_label
from keras_reg.compare.results import Comparison
from keras_reg.compare.table import HEADINGS, format_row

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 72rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.25rem; margin-top: 2.4rem; border-bottom: 1px solid #ddd; padding-bottom: 0.2rem; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.92rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.7rem; text-align: left; white-space: nowrap; border-bottom: 1px solid #e4e4e4; }
thead th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
tbody.method { border-bottom: 2px solid #bbb; }
pre { background: #f4f4f4; padding: 0.7rem 1rem; overflow-x: auto; }
.note { background: #fff6dd; border-left: 4px solid #e0b030; padding: 0.5rem 1rem; }
"""

_CAPTIONS = {
    "summary": "Left: lines are means over seeds, and bands range from the lowest to the highest seed.",
    "learning-curves": "Lines are means over seeds, and bands range from the lowest to the highest seed.",
    "suspected-labels": "Training images of the first seed. Green: the suggested label is the true label. Red: the "
    "suggested label is wrong, or the method does not suspect a wrong label. Black: the true label is unknown.",
}
_SHOWN_SUSPECTS = 20


def to_html(comparison: Comparison) -> str:
    """Returns a comparison as one HTML page that needs no other file.

    Args:
        comparison: A `keras_reg.compare.Comparison`, as `keras_reg.compare.run` returns it.

    Returns:
        String. The HTML document, with tables and pictures.

    Example:

    ```python
    comparison = keras_reg.compare.run("wine", "symmetric:0.4", seeds=1)
    page = keras_reg.compare.to_html(comparison)
    pathlib.Path("comparison.html").write_text(page)
    ```
    """
    return build_page(comparison, render_pngs(comparison))


def build_page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Builds the page.

    Args:
        comparison: The comparison.
        pictures: PNG files by name.

    Returns:
        An HTML document without references to other files.
    """
    facts, settings = comparison.facts, comparison.settings
    title = f"Training with noisy labels: {facts['name']}"
    seeds = len(settings.seeds)
    lead = (
        f"{describe_noise(comparison)}; model {facts['model']}; {settings.epochs} epochs; batches of "
        f"{settings.batch_size} samples; {settings.optimizer} with {settings.schedule} learning rate "
        f"{settings.learning_rate:g}; {seeds} seed{'s' if seeds > 1 else ''}."
    )
    parts = [
        f"<h1>{_escape(title)}</h1><p>{_escape(lead[0].upper() + lead[1:])}</p>",
        _warn_if_unfinished(comparison),
        _embed_picture("summary", pictures),
        "<h2>Results</h2>",
        _build_results(comparison),
        "<h2>How the figures are computed</h2>",
        _build_list(describe_measurement(comparison)),
        "<h2>Methods and their parameters</h2>",
        _build_methods(comparison),
        "<h2>Learning curves</h2>",
        _embed_picture("learning-curves", pictures),
        _build_suspects(comparison, pictures),
        "<h2>How to reproduce the comparison</h2>",
        f"<pre>{_escape(settings.command(comparison.environment['backend']))}</pre><p>or in Python:</p>",
        f"<pre>{_escape(settings.python_call())}</pre>",
        "<h2>Environment</h2>",
        _build_table(
            ("", ""), [(name.replace("_", " "), value or "-") for name, value in comparison.environment.items()]
        ),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_escape(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>'
    )


def _escape(value: Any) -> str:
    """Returns the text of a value with escaped markup."""
    return html.escape(str(value))


def _warn_if_unfinished(comparison: Comparison) -> str:
    """Returns a warning for a comparison that was stopped, and otherwise an empty string."""
    planned = len(comparison.variants) * len(comparison.settings.seeds)
    if len(comparison.scored) == planned:
        return ""
    return f'<p class="note">Only {len(comparison.scored)} of {planned} runs are finished.</p>'


def _embed_picture(name: str, pictures: Mapping[str, bytes]) -> str:
    """Returns an embedded picture with its caption, or an empty string if there is no picture."""
    if name not in pictures:
        return ""
    data = base64.b64encode(pictures[name]).decode()
    caption = _CAPTIONS[name]
    return (
        f'<figure style="margin: 1rem 0"><img alt="{_escape(name.replace("-", " "))}" '
        f'src="data:image/png;base64,{data}"><figcaption>{_escape(caption)}</figcaption></figure>'
    )


def _build_results(comparison: Comparison) -> str:
    """Builds the table of results, with the two rows of a method grouped."""
    rows = list(comparison.table)
    head = "".join(f'<th scope="col">{_escape(heading)}</th>' for heading in HEADINGS)
    bodies = []
    for label in comparison.labels:
        lines = [format_row(row) for row in rows if row["method"] == label]
        shown = [[format_label(cells[0]), *cells[1:]] for cells in lines]
        body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in cells) + "</tr>" for cells in shown)
        bodies.append(f'<tbody class="method">{body}</tbody>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>'


def _build_methods(comparison: Comparison) -> str:
    """Builds a table of the methods, their parameters and the origin of the parameters."""
    rows = []
    for variant in comparison.variants:
        tuned = comparison.tuned.get(variant.label)
        parameters = ", ".join(f"{name} = {value:g}" for name, value in variant.parameters(tuned).items())
        chosen = f"chosen by the user: {', '.join(variant.overrides)}; otherwise " if variant.overrides else ""
        source = "found by the search" if tuned is not None else chosen + variant.method.source
        rows.append((format_label(variant.label), variant.method.summary, parameters or "-", source))
    effort = (
        tuning.DESCRIPTION.format(trials=TRIALS, seed=comparison.settings.tuning_seed)
        + " Methods with parameters that the user chose were not searched."
        if comparison.settings.tune
        else "No method was tuned to this dataset. Each method has the parameters of its authors, and plain training "
        "has the learning rate of the comparison. With --tune, each method gets a search of the same size."
    )
    return f"<p>{_escape(effort)}</p>" + _build_table(
        ("method", "description", "parameters", "origin of the parameters"), rows
    )


def _build_suspects(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Builds the section of suspected labels: the picture, and a table of those with the largest margins."""
    rows = comparison.suspected
    if not rows:
        return ""
    first = [row for row in rows if (row["method"], row["seed"]) == (rows[0]["method"], rows[0]["seed"])]
    names = comparison.dataset.class_names
    known = comparison.facts["wrong_labels_train"] > 0
    lines = [
        (row["index"], names[row["given"]], names[row["suggested"]], names[row["true"]] if known else "unknown")
        for row in first[:_SHOWN_SUSPECTS]
    ]
    lead = (
        f"{format_label(rows[0]['method'])} suspects {len(first):,} of {comparison.facts['train']:,} training labels "
        f"(seed {rows[0]['seed']}). The table shows those with the largest margins. The file suspected.csv has all."
    )
    table = _build_table(("sample", "given label", "suggested label", "true label"), lines)
    return f"<h2>Suspected labels</h2><p>{_escape(lead)}</p>" + _embed_picture("suspected-labels", pictures) + table


def _build_list(statements: Sequence[str]) -> str:
    """Builds a list of statements."""
    return "<ul>" + "".join(f"<li>{_escape(statement)}</li>" for statement in statements) + "</ul>"


def _build_table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Builds a table, without a heading row if all headings are empty."""
    head = "".join(f"<th>{_escape(heading)}</th>" for heading in headings)
    head = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    body = "".join("<tr>" + "".join(f"<td>{_escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'
