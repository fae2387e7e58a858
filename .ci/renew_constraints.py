"""Renews the exact versions in `constraints.txt`, and ruff's in `.pre-commit-config.yaml`.

python .ci/renew_constraints.py   # on Linux with Python 3.11, as CI

Installs the package with all extras in a temporary environment, in the newest versions that fit together.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Without the pin, pip may install a build with several gigabytes of CUDA.
PYTORCH = "torch==2.13.0"
EXTRAS = "tensorflow-cpu,jax,torch,dev,docs"
HEADER = f"""\
# The exact versions that CI installs on Python 3.11, for `PIP_CONSTRAINT` or `pip install -c`.
# Renew them with: python .ci/renew_constraints.py
# It installs all extras in a fresh environment and freezes it. It keeps {PYTORCH}: without the pin, pip may
# install a build with several gigabytes of CUDA. The stages `newest`, `oldest` and `nightly` test other versions.
"""


def newest_versions() -> str:
    """Returns what `pip freeze` prints after an installation of all extras."""
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip = [f"{folder}/bin/python", "-m", "pip"]
        subprocess.run([*pip, "install", "-q", PYTORCH, "-e", f".[{EXTRAS}]"], cwd=ROOT, env=environment, check=True)
        freeze = [*pip, "freeze", "--exclude-editable"]
        return subprocess.run(freeze, env=environment, check=True, capture_output=True, text=True).stdout


def constraints(freeze: str) -> str:
    """Returns the text of `constraints.txt`.

    Local labels such as `+cpu` are left out: only some package indexes have these builds.
    """
    pins = [line.split("+")[0] for line in freeze.splitlines() if re.match(r"[\w.-]+==", line)]
    return HEADER + "".join(f"{pin}\n" for pin in sorted(pins, key=str.lower))


def with_ruff_of(text: str, hooks: str) -> str:
    """Returns the text of `.pre-commit-config.yaml` with the version of ruff in `text`, the constraints."""
    version = re.search(r"^ruff==(.*)$", text, re.MULTILINE)[1]
    return re.sub(r"(ruff-pre-commit\n\s+rev: v)\S+", rf"\g<1>{version}", hooks)


def main() -> None:
    """Writes both files."""
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"Run this with Python 3.11, as CI does. Received: {sys.version.split()[0]}")
    text = constraints(newest_versions())
    (ROOT / "constraints.txt").write_text(text)
    hooks = ROOT / ".pre-commit-config.yaml"
    hooks.write_text(with_ruff_of(text, hooks.read_text()))


if __name__ == "__main__":
    main()
