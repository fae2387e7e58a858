"""Measures reading and writing a batch of rows in a file, with the rows on the disk or already in memory.

    KERAS_BACKEND=torch python benchmarks/file_rows.py --folder /data --samples 1281167 --classes 1000

The script makes a table of `keras_reg.callbacks.Storage(file=...)`, uses random rows, and deletes the table. It needs
disk space for the table, and some minutes. `on the disk` means that the system was told to drop its copy of the file
before (Linux). Between batches the process waits, in place of a training step. Each number is a mean over batches. The
ways of reading take turns.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import tempfile
import time

import numpy as np

from keras_reg._memory.row_file import RowFile

AHEAD = 4


def fill(table: RowFile, given: argparse.Namespace) -> None:
    """Writes all rows, so that space on the disk is allocated for each."""
    rng = np.random.default_rng(0)
    for start in range(0, given.samples, 4096):
        rows = np.arange(start, min(start + 4096, given.samples))
        table.write(rows, rng.random((len(rows), given.classes), "float32"))


def forget(path: pathlib.Path) -> None:
    """Makes the system write a file to the disk, and drop its copy of pages that no process has mapped."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def reading(path: pathlib.Path, given: argparse.Namespace, how: str, cold: bool) -> float:
    """Returns the milliseconds of reading a batch."""
    if cold:
        forget(path)
    table = RowFile(str(path), given.samples, given.classes, "float32")
    prefetch = table.prefetch
    if how == "one after the other":
        table.prefetch = lambda rows: None  # type: ignore[method-assign]
    batches = np.random.default_rng().integers(0, given.samples, (given.steps + AHEAD, given.batch))
    if not cold:
        for rows in batches:
            table.read(rows)
    seconds = 0.0
    for step in range(given.steps):
        if how == "ahead":
            prefetch(batches[step + AHEAD])
        time.sleep(given.wait if cold else 0.0)
        if step < AHEAD:
            continue
        start = time.perf_counter()
        table.read(batches[step])
        seconds += time.perf_counter() - start
    return 1000 * seconds / (given.steps - AHEAD)


def writing(path: pathlib.Path, given: argparse.Namespace, table: RowFile) -> float:
    """Returns the milliseconds of writing a batch of rows whose pages are in memory and unchanged since the disk."""
    forget(path)
    batches = np.random.default_rng().integers(0, given.samples, (given.steps, given.batch))
    values = np.random.default_rng().random((given.batch, given.classes), "float32")
    for rows in batches:
        table.read(rows)
    start = time.perf_counter()
    for rows in batches:
        table.write(rows, values)
    return 1000 * (time.perf_counter() - start) / given.steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=".", help="the folder for the file")
    parser.add_argument("--samples", type=int, default=1281167)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--wait", type=float, default=0.02, help="seconds between batches, in place of a step")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = pathlib.Path(folder) / "rows"
        table = RowFile(str(path), given.samples, given.classes, "float32")
        fill(table, given)
        found: dict[str, list[float]] = {}
        found["written | in memory | no checkpoint"] = [writing(path, given, table) for _ in range(given.rounds)]
        journal = found["written | in memory | after a checkpoint, into the journal too"] = []
        for _ in range(given.rounds):
            table.checkpoint()
            journal.append(writing(path, given, table))
        del table  # mapped pages would stay in memory
        for _ in range(given.rounds):
            for cold in (True, False):
                for how in ("one after the other", "together", "ahead"):
                    name = f"read | {'on the disk' if cold else 'in memory'} | {how}"
                    found.setdefault(name, []).append(reading(path, given, how, cold))
    print("| rows are | where | how | ms per batch, each round |\n|---|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {', '.join(f'{value:.2f}' for value in values)} |")


if __name__ == "__main__":
    main()
