"""Writes the page with the table of seeded faults."""

from __future__ import annotations

import collections

from tests.mutants.mutant import FOLDER, caught, load

PAGE = FOLDER / "README.md"
HEAD = """# Seeded faults

Seeded faults measure how well the test suite finds faults. The JSON files in this folder describe faults that a
developer could make by mistake: a file, a replacement, and what a user would see. `python -m tests.mutants` puts each
fault into a copy of the repository and runs tests until one fails:

    python -m tests.mutants                     # every fault, fast tiers of the three backends
    python -m tests.mutants ops- tune-          # the faults of some subpackages
    python -m tests.mutants --sample 0.05       # a random twentieth, as `.ci/run mutants` does
    python -m tests.mutants --new --write       # faults without a result; records what catches them

A fault is caught by the *fast* tier if `pytest` fails on at least one backend, and by the *full* tier if only
`pytest --full` fails. Together, the fast tiers of the three backends should catch every fault that the full tier
catches, and no fault should survive. The table names the first test that failed; others may fail too. The search goes
from PyTorch to TensorFlow and JAX, because a test costs least on PyTorch.

## Adding a fault

- When you fix a fault in the package, add it here, so that it cannot come back unnoticed.
- Choose faults that are plausible and subtle. A change that no user could notice is not a fault.
- If the code changes and a fault no longer fits, adapt it, or replace it with another fault of the same kind.

`python -m tests.mutants --write` writes this page.
"""


def page() -> str:
    known, mutants = caught(), load()
    tiers = collections.Counter(known[m.id]["tier"] if m.id in known else "not measured" for m in mutants)
    backends = collections.Counter(known[m.id]["backend"] for m in mutants if m.id in known)
    rows = [
        f"{len(mutants)} faults. Caught by the fast tier: {tiers['fast']}; only by the full tier: {tiers['full']}; "
        f"not measured yet: {tiers['not measured']}. "
        f"Caught on {', '.join(f'{name}: {count}' for name, count in sorted(backends.items()))}.",
        "",
        "| fault | what a user would see | tier | backend | test |",
        "| --- | --- | --- | --- | --- |",
    ]
    for mutant in mutants:
        found = known.get(mutant.id, {"tier": "not measured", "backend": "", "test": ""})
        test = found["test"].replace("tests/", "", 1).replace("|", "\\|")
        rows.append(f"| `{mutant.id}` | {mutant.why} | {found['tier']} | {found['backend']} | {test and f'`{test}`'} |")
    return f"{HEAD}\n## Results\n\n" + "\n".join(rows) + "\n"


def write_page() -> None:
    PAGE.write_text(page())
