"""Measures everything that docs/benchmarks.md shows, and writes its tables: some hours on two cores without other work.

    python benchmarks/write_page.py                    # all tables that name their commands
    python benchmarks/write_page.py --only arctan      # those whose commands hold a word
    python benchmarks/write_page.py --list             # the commands, without running them

In the page a comment stands before each table, `<!-- run`, a command for each line, `-->`: the table is made of the
rows that these print. The page is written after each table, so that a run can be stopped, and taken up again with
`--only`.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.md"
TABLE = re.compile(r"<!-- run\n(?P<commands>(?:.+\n)+?)-->\n\n(?P<table>(?:\|.*\n)*)")


def rows_of(command: str) -> list[str]:
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return [line for line in done.stdout.splitlines() if line.startswith("|")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="tables whose commands hold this word")
    parser.add_argument("--list", action="store_true", help="show the commands")
    arguments = parser.parse_args()
    for commands in [match["commands"] for match in TABLE.finditer(PAGE.read_text())]:
        if arguments.only not in commands:
            continue
        print(commands, end="", flush=True)
        if arguments.list:
            continue
        tables = [rows_of(command) for command in commands.splitlines()]
        headers = {tuple(table[:2]) for table in tables}
        if len(headers) != 1:
            raise RuntimeError(f"These commands print other columns than each other:\n{commands}")
        rows = [*headers.pop(), *(row for table in tables for row in table[2:])]
        text = PAGE.read_text()
        old = next(match for match in TABLE.finditer(text) if match["commands"] == commands)
        rest = text[old.end("table") :].lstrip("\n")
        PAGE.write_text(text[: old.start("table")] + "\n".join(rows) + "\n" + ("\n" + rest if rest else ""))


if __name__ == "__main__":
    main()
