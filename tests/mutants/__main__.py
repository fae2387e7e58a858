"""Measures which seeded faults the test suite finds: `python -m tests.mutants --help`."""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import queue
import random
import sys
import tempfile

from tests.mutants.hunt import BACKENDS, hunt, searches
from tests.mutants.mutant import CAUGHT, Mutant, caught, copy_repository, load
from tests.mutants.table import write_page

DESCRIPTION = """Puts each seeded fault into a copy of the repository and runs tests in this order until one
fails: the test that caught it last, the tests that the fault names, the tests of its subpackage, all tests. The exit
status is 1 if a fault survives. Run it from the root of the repository, in an environment that has the backends."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.mutants", description=DESCRIPTION)
    parser.add_argument("ids", nargs="*", help="beginnings of the ids of faults, such as ops-; all by default")
    parser.add_argument(
        "--sample", type=float, metavar="SHARE", help="a random share of the faults caught before, such as 0.05"
    )
    parser.add_argument("--seed", type=int, help="the seed of the sample; a random one by default, which is printed")
    parser.add_argument("--tiers", default="fast", choices=("fast", "full", "fast,full"), help="default: fast")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="default: %(default)s")
    parser.add_argument("--new", action="store_true", help="only faults without a result")
    parser.add_argument("--runs", type=int, help="the maximum number of pytest runs per fault, cheapest first")
    parser.add_argument("--jobs", type=int, default=2, help="the number of faults tested at a time; default: 2")
    parser.add_argument(
        "--write", action="store_true", help="write what caught each fault into caught.json and README.md"
    )
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> list[Mutant]:
    mutants = [m for m in load() if not options.ids or m.id.startswith(tuple(options.ids))]
    if options.new:
        mutants = [mutant for mutant in mutants if mutant.id not in caught()]
    if options.sample is None:
        return mutants
    mutants = [mutant for mutant in mutants if mutant.id in caught()]
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    print(f"A sample of {options.sample:g} with --seed {seed}", flush=True)
    return random.Random(seed).sample(mutants, max(1, round(options.sample * len(mutants))))


def main(arguments: list[str] | None = None) -> int:
    options, known = parse(arguments), caught()
    mutants, tiers, backends = chosen(options), tuple(options.tiers.split(",")), tuple(options.backends.split(","))
    copies: queue.Queue[pathlib.Path] = queue.Queue()
    survivors = []

    def run(mutant: Mutant) -> dict[str, str] | None:
        runs = itertools.islice(searches(mutant, known.get(mutant.id), tiers, backends), options.runs)
        copy = copies.get()
        try:
            return hunt(mutant, copy, runs)
        finally:
            copies.put(copy)

    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for index in range(options.jobs):
            copies.put(copy_repository(pathlib.Path(folder, str(index))))
        for done in concurrent.futures.as_completed(waiting := {pool.submit(run, m): m for m in mutants}):
            mutant, result = waiting[done], done.result()
            if result is None:
                survivors.append(mutant.id)
                print(f"SURVIVES  {mutant.id}: {mutant.why}", flush=True)
                continue
            print(f"{result['tier']:8}  {result['backend']:10}  {mutant.id}: {result['test']}", flush=True)
            if options.write:
                known[mutant.id] = result
                CAUGHT.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    if options.write:
        for survivor in survivors:
            known.pop(survivor, None)
        CAUGHT.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
        write_page()
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} faults are caught; survivors: {survivors or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
