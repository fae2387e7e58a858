"""Measures everything that docs/benchmarks.md shows, and writes its tables: some hours on two cores without other work.

    python benchmarks/write_page.py                    # all tables that name their commands
    python benchmarks/write_page.py --only arctan      # those whose commands hold a word
    python benchmarks/write_page.py --list             # the commands, without running them
    python benchmarks/write_page.py --cards            # step times from the page to the pages of the methods

In the page a comment stands before each table, `<!-- run`, a command for each line, `-->`: the table is made of the
rows that these print; after `<!-- run side by side` each command gives a column of the ratios of step times. The page
is written after each table, so that a run can be stopped, and taken up again with `--only`. In the page of a method a
comment, `<!-- step times: ` and its names in `methods.py`, stands before a table of what these tables say of it.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
TABLE = re.compile(r"<!-- run(?P<beside> side by side)?\n(?P<commands>(?:.+\n)+?)-->\n\n(?P<table>(?:\|.*\n)*)")
CARD = re.compile(r"(?P<comment><!-- step times: (?P<names>.+) -->\n)\n(?P<table>(?:\|.*\n)*)")
#: What the first column of a table of ratios says.
PLAIN = "plain (ms)"


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (columns, ["---"] * len(columns), *rows)]


def rows_of(command: str) -> list[str]:
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return [line for line in done.stdout.splitlines() if line.startswith("|")]


def joined(tables: list[list[str]]) -> list[str]:
    """One below the other."""
    headers = {tuple(table[:2]) for table in tables}
    if len(headers) != 1:
        raise RuntimeError(f"These tables have other columns than each other:\n{headers}")
    return [*headers.pop(), *(row for table in tables for row in table[2:])]


def side_by_side(tables: list[list[str]]) -> list[str]:
    """A row for each method, with the ratios of each table; first, the smallest and largest time of the plain model."""
    columns: dict[str, dict[str, str]] = {}
    for lines in tables:
        found = [dict(zip(cells(lines[0]), cells(row), strict=True)) for row in lines[2:]]
        column = columns.setdefault(f"{found[0]['backend']}, {found[0]['compiled']}", {})
        own = [row for row in found if row["model"] != "normalized"]
        plain = [float(row["plain (ms/step)"]) for row in own]
        column[PLAIN] = f"{min(plain):.2f} to {max(plain):.2f}"
        for row in found:
            low, high = (float(end) for end in row["range"].split(" to "))
            column[row["method"]] = f"{float(row['ratio']):.2f} ({low:.2f} to {high:.2f})"
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[name, *(column.get(name, "") for column in columns.values())] for name in names]
    return table(["method", *columns], rows)


def step_times(page: str, names: list[str]) -> list[str]:
    """What the tables side by side, one for each model under a heading of its own, say of some methods."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    models: list[str] = []
    for match in TABLE.finditer(page):
        if not match["beside"]:
            continue
        model = re.findall("^#+ (.+)", page[: match.start()], re.MULTILINE)[-1]
        columns, _, *lines = [cells(line) for line in match["table"].splitlines()]
        for method, *ratios in lines:
            for mode, ratio in zip(columns[1:], ratios, strict=True):
                if method in names and ratio:
                    found.setdefault((method, mode), {})[model] = ratio
                    models = models if model in models else [*models, model]
    if missing := set(names) - {method for method, _ in found}:
        raise ValueError(f"No table of {PAGE.name} has step times of these. Received: {sorted(missing)}")
    ordered = sorted(found, key=lambda key: names.index(key[0]))
    rows = [[*key, *(found[key].get(model, "") for model in models)] for key in ordered]
    return table(["step time", "", *models], rows)


def filled(card: str, page: str) -> str:
    """The text of the page of a method with the step times that `page` has."""

    def fill(match: re.Match[str]) -> str:
        lines = step_times(page, match["names"].split(", "))
        return match["comment"] + "\n" + "\n".join(lines) + "\n"

    return CARD.sub(fill, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="tables whose commands hold this word")
    parser.add_argument("--list", action="store_true", help="show the commands")
    parser.add_argument("--cards", action="store_true", help="measure nothing, and fill the pages of the methods")
    arguments = parser.parse_args()
    for match in [] if arguments.cards else list(TABLE.finditer(PAGE.read_text())):
        commands = match["commands"]
        if arguments.only not in commands:
            continue
        print(commands, end="", flush=True)
        if arguments.list:
            continue
        put = side_by_side if match["beside"] else joined
        rows = put([rows_of(command) for command in commands.splitlines()])
        text = PAGE.read_text()
        old = next(match for match in TABLE.finditer(text) if match["commands"] == commands)
        rest = text[old.end("table") :].lstrip("\n")
        PAGE.write_text(text[: old.start("table")] + "\n".join(rows) + "\n" + ("\n" + rest if rest else ""))
    if not arguments.list:
        for card in PAGE.parent.glob("*.md"):
            card.write_text(filled(card.read_text(), PAGE.read_text()))


if __name__ == "__main__":
    main()
