"""Reads and writes rows in CSV files, so that no row is computed twice, and loads the example that some scripts run."""

from __future__ import annotations

import csv
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any


def known(file: pathlib.Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file, or an empty list if there is no file."""
    if not file.exists():
        return []
    with file.open() as lines:
        return list(csv.DictReader(lines))


def write(file: pathlib.Path, fields: Sequence[str], row: Mapping[str, Any]) -> None:
    """Appends a row to a CSV file, with four digits for floats, and prints it."""
    new = not file.exists()
    with file.open("a", newline="") as lines:
        writer = csv.DictWriter(lines, fields, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()})
    print(dict(row), flush=True)


def pruning_example() -> Any:
    """Imports the module `examples/pruning.py`."""
    file = pathlib.Path(__file__).parents[2] / "examples" / "pruning.py"
    spec = importlib.util.spec_from_file_location("pruning_example", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
