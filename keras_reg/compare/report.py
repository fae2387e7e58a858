"""The page of a comparison: one HTML file with everything in it."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from keras_reg.compare import tuning
from keras_reg.compare.methods import TRIALS
from keras_reg.compare.pictures import all_pngs
from keras_reg.compare.report_text import describe_noise, display_name, how_measured
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
    "summary": "Left: the line is the mean over seeds, the band goes from the lowest to the highest seed.",
    "learning-curves": "Lines are means over seeds, bands go from the lowest to the highest seed.",
    "suspected-labels": "Training images of the first seed. Green: the suggested label is the true one; red: it is "
    "not, or the label was missed; black: the truth is not known.",
}
_SHOWN_SUSPECTS = 20


def to_html(comparison: Comparison) -> str:
    """Returns the whole comparison as one HTML page that needs no other file.

    Args:
        comparison: The comparison that `keras_reg.compare.run` returned.

    Example:

    ```python
    comparison = keras_reg.compare.run("wine", "symmetric:0.4", seeds=1)
    pathlib.Path("comparison.html").write_text(keras_reg.compare.to_html(comparison))
    ```
    """
    return page(comparison, all_pngs(comparison))


def page(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """Builds the page.

    Args:
        comparison: The comparison.
        pictures: PNG files by name.

    Returns:
        A whole HTML document that refers to nothing outside.
    """
    facts, settings = comparison.facts, comparison.settings
    title = f"Training with noisy labels: {facts['name']}"
    seeds = len(settings.seeds)
    lead = (
        f"{describe_noise(comparison)}; model {facts['model']}, {settings.epochs} epochs, batches of "
        f"{settings.batch_size}, {settings.optimizer} with {settings.schedule} learning rate "
        f"{settings.learning_rate:g}; {seeds} "
        f"seed{'s' if seeds > 1 else ''}."
    )
    parts = [
        f"<h1>{_text(title)}</h1><p>{_text(lead[0].upper() + lead[1:])}</p>",
        _unfinished(comparison),
        _picture("summary", pictures),
        "<h2>Results</h2>",
        _results(comparison),
        "<h2>How the figures came about</h2>",
        _list(how_measured(comparison)),
        "<h2>Methods and their parameters</h2>",
        _methods(comparison),
        "<h2>During training</h2>",
        _picture("learning-curves", pictures),
        _suspects(comparison, pictures),
        "<h2>How to repeat it</h2>",
        f"<pre>{_text(settings.command(comparison.environment['backend']))}</pre><p>or in Python</p>",
        f"<pre>{_text(settings.python_call())}</pre>",
        "<h2>What it ran on</h2>",
        _table(("", ""), [(name.replace("_", " "), value or "-") for name, value in comparison.environment.items()]),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>'
    )


def _text(value: Any) -> str:
    """Text that cannot be taken for markup."""
    return html.escape(str(value))


def _unfinished(comparison: Comparison) -> str:
    """A warning above a comparison that was stopped."""
    planned = len(comparison.variants) * len(comparison.settings.seeds)
    if len(comparison.scored) == planned:
        return ""
    return f'<p class="note">Only {len(comparison.scored)} of {planned} runs are finished.</p>'


def _picture(name: str, pictures: Mapping[str, bytes]) -> str:
    """An embedded picture with its caption; nothing where there is no picture."""
    if name not in pictures:
        return ""
    data = base64.b64encode(pictures[name]).decode()
    caption = _CAPTIONS[name]
    return (
        f'<figure style="margin: 1rem 0"><img alt="{_text(name.replace("-", " "))}" '
        f'src="data:image/png;base64,{data}"><figcaption>{_text(caption)}</figcaption></figure>'
    )


def _results(comparison: Comparison) -> str:
    """The table, the two rows of a method together."""
    rows = list(comparison.table)
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in HEADINGS)
    bodies = []
    for label in comparison.labels:
        lines = [format_row(row) for row in rows if row["method"] == label]
        shown = [[display_name(cells[0]), *cells[1:]] for cells in lines]
        body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>" for cells in shown)
        bodies.append(f'<tbody class="method">{body}</tbody>')
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>{"".join(bodies)}</table></div>'


def _methods(comparison: Comparison) -> str:
    """What each method is, and which parameters it had from where."""
    rows = []
    for variant in comparison.variants:
        tuned = comparison.tuned.get(variant.label)
        parameters = ", ".join(f"{name} = {value:g}" for name, value in variant.parameters(tuned).items())
        given = f"written out: {', '.join(variant.given)}; otherwise " if variant.given else ""
        source = "found by the search" if tuned is not None else given + variant.method.source
        rows.append((display_name(variant.label), variant.method.summary, parameters or "-", source))
    effort = (
        tuning.DESCRIPTION.format(trials=TRIALS, seed=comparison.settings.tuning_seed)
        + " Methods whose parameters were written out were not searched."
        if comparison.settings.tune
        else "No method was tuned to this data set: each has the parameters its authors give, and plain training the "
        "comparison's learning rate. (With --tune each method gets a search of the same size.)"
    )
    return f"<p>{_text(effort)}</p>" + _table(("method", "what it does", "parameters", "where they come from"), rows)


def _suspects(comparison: Comparison, pictures: Mapping[str, bytes]) -> str:
    """The labels that a method suspects: the picture, and the surest as a table."""
    rows = comparison.suspected
    if not rows:
        return ""
    first = [row for row in rows if (row["method"], row["seed"]) == (rows[0]["method"], rows[0]["seed"])]
    names = comparison.dataset.class_names
    known = comparison.facts["wrong_labels_train"] > 0
    lines = [
        (row["index"], names[row["given"]], names[row["suggested"]], names[row["true"]] if known else "not known")
        for row in first[:_SHOWN_SUSPECTS]
    ]
    lead = (
        f"{display_name(rows[0]['method'])} suspects {len(first):,} of {comparison.facts['train']:,} training labels "
        f"(seed {rows[0]['seed']}); the surest follow, all are in suspected.csv."
    )
    table = _table(("sample", "given label", "suggested label", "true label"), lines)
    return f"<h2>Suspected labels</h2><p>{_text(lead)}</p>" + _picture("suspected-labels", pictures) + table


def _list(statements: Sequence[str]) -> str:
    """A list of statements."""
    return "<ul>" + "".join(f"<li>{_text(statement)}</li>" for statement in statements) + "</ul>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A plain table; without headings if they are empty."""
    head = "".join(f"<th>{_text(heading)}</th>" for heading in headings)
    head = f"<thead><tr>{head}</tr></thead>" if any(headings) else ""
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'
