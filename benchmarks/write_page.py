"""Runs the commands in docs/benchmarks.md and writes its tables, in some hours on two cores without other work.

    python benchmarks/write_page.py                    # all tables that name their commands
    python benchmarks/write_page.py --only arctan      # tables whose commands contain a word
    python benchmarks/write_page.py --list             # print the commands without running them
    python benchmarks/write_page.py --cards            # copy step times to the pages of the methods

The page has a comment before each table: `<!-- run`, one command per line, `-->`. The table consists of the rows that
the commands print. After `<!-- run side by side`, each command gives a column with ratios of step times. The page is
written after each table, so a run can be stopped and continued with `--only`.

The page of a method has a comment with the names of the method in `methods.py`: `<!-- step times: NAMES -->`. The table
after it shows the method's step times from the tables of docs/benchmarks.md.
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
#: The name of the first row in a table of ratios.
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
    """Joins tables with equal columns, one below the other."""
    headers = {tuple(table[:2]) for table in tables}
    if len(headers) != 1:
        raise RuntimeError(f"These tables have other columns than each other:\n{headers}")
    return [*headers.pop(), *(row for table in tables for row in table[2:])]


def side_by_side(tables: list[list[str]]) -> list[str]:
    """Returns a row of ratios for each method, after a row with the range of the plain model's step time."""
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
    """Returns a table of some methods' ratios, from the page's tables of ratios, one per model and heading."""
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
    """Returns the text of a method's page, with the step times from `page` filled in."""

    def fill(match: re.Match[str]) -> str:
        lines = step_times(page, match["names"].split(", "))
        return match["comment"] + "\n" + "\n".join(lines) + "\n"

    return CARD.sub(fill, card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run only tables whose commands contain this word")
    parser.add_argument("--list", action="store_true", help="print the commands without running them")
    parser.add_argument("--cards", action="store_true", help="measure nothing, and only fill the pages of the methods")
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
