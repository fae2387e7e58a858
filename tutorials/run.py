"""Runs every tutorial.

python tutorials/run.py            # a short run, to see that they work; writes nothing
python tutorials/run.py --write    # the full run, whose outputs are committed
"""

from __future__ import annotations

import argparse
import os
import pathlib
import time

import nbclient
import nbformat

HERE = pathlib.Path(__file__).parent


def main() -> None:
    """Executes the notebooks beside this file, from top to bottom, each in a fresh kernel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="run in full and write the outputs into the notebooks")
    arguments = parser.parse_args()
    if not arguments.write:
        os.environ["TUTORIAL_EPOCHS"] = "3"
    for path in sorted(HERE.glob("*.ipynb")):
        start = time.perf_counter()
        notebook = nbformat.read(path, as_version=4)
        nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(HERE)}}).execute()
        for cell in notebook.cells:
            # What the machine printed to its error stream is not part of the tutorial, nor is when a cell ran.
            cell.metadata.pop("execution", None)
            if cell.cell_type == "code":
                cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
        if arguments.write:
            nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
