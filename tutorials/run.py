"""Runs the tutorials. Each `.py` file with cells in this folder is the source of the notebook of the same name.

python tutorials/run.py                      # short run of all tutorials, to check that they work; writes nothing
python tutorials/run.py --write              # full run: writes the notebooks, with their outputs
python tutorials/run.py --write quick_start  # full run of one tutorial
python tutorials/run.py --text               # copies edited text into the notebooks, which keep their outputs

The short run also fails if a notebook was not made from the current version of its source.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import nbclient
import nbformat
from cells import FINGERPRINT, cells_of, difference, fingerprint

HERE = pathlib.Path(__file__).resolve().parent
NO_TUTORIALS = {"run", "cells"}
SHORT_EPOCHS = {"self_tuning": "25"}  # it starts to tune after 100 steps; the others run for 3 epochs


def notebook_of(source: str) -> nbformat.NotebookNode:
    """Creates a notebook without outputs from a source."""
    makers = {"markdown": nbformat.v4.new_markdown_cell, "code": nbformat.v4.new_code_cell}
    cells = [
        makers[kind](text, id=f"cell-{index}")  # fixed ids: a new run changes only the outputs
        for index, (kind, text) in enumerate(cells_of(source))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, FINGERPRINT: fingerprint(source)})


def run(path: pathlib.Path, write: bool) -> tuple[str, float]:
    """Executes one tutorial from top to bottom in a fresh kernel."""
    start = time.perf_counter()
    if not write:
        os.environ["TUTORIAL_EPOCHS"] = SHORT_EPOCHS.get(path.stem, "3")
    notebook = notebook_of(path.read_text())
    nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(HERE)}}).execute()
    for cell in notebook.cells:
        # Standard error depends on the machine, and times differ between runs: neither belongs in a notebook.
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata.pop("language_info", None)
    if write:
        nbformat.write(notebook, path.with_suffix(".ipynb"))
    return path.stem, time.perf_counter() - start


def renew_text(path: pathlib.Path) -> None:
    """Copies the text cells of a source into its notebook."""
    file = path.with_suffix(".ipynb")
    new, old = notebook_of(path.read_text()), nbformat.read(file, as_version=4)
    outputs = [cell for cell in old.cells if cell.cell_type == "code"]
    if [cell.source for cell in new.cells if cell.cell_type == "code"] != [cell.source for cell in outputs]:
        sys.exit(f"The code of {path.name} has also changed. Run: python tutorials/run.py --write {path.stem}")
    for cell in new.cells:
        if cell.cell_type == "code":
            done = outputs.pop(0)
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
    new.metadata[FINGERPRINT] = old.metadata[FINGERPRINT]
    nbformat.write(new, file)


def main() -> None:
    """Runs the named tutorials, or all of them, several at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="names of tutorials, without .py; default: all")
    parser.add_argument("--write", action="store_true", help="run in full, and write the notebooks")
    parser.add_argument("--text", action="store_true", help="update only the text of the notebooks, without a run")
    parser.add_argument("--jobs", type=int, default=2, help="how many tutorials run at the same time; default: 2")
    arguments = parser.parse_args()
    names = arguments.names or sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NO_TUTORIALS)
    paths = [HERE / f"{name}.py" for name in names]
    if arguments.text:
        for path in paths:
            renew_text(path)
        return
    # JAX is the fastest backend for full runs. In short runs it would mostly compile; PyTorch does not compile.
    os.environ.setdefault("KERAS_BACKEND", "jax" if arguments.write else "torch")
    if not arguments.write:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # notebooks share the cores; threads would compete for them
        for path in paths:
            why = difference(path.read_text(), json.loads(path.with_suffix(".ipynb").read_text()))
            if why:
                sys.exit(f"{path.stem}.ipynb: {why}. Run: python tutorials/run.py --write {path.stem}")
    start = time.perf_counter()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name, seconds in pool.map(run, paths, [arguments.write] * len(paths)):
            print(f"{name}: {seconds:.0f} s", flush=True)
    print(f"total: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
