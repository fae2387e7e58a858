"""Compares functions of `keras_reg.ops` with their naive forms, and elementwise functions with a copy.

    KERAS_BACKEND=jax python benchmarks/ops.py                  # or tensorflow, torch: both tables
    KERAS_BACKEND=jax python benchmarks/ops.py --only nuclear_norm,group_envelope --tables pairs
    KERAS_BACKEND=torch python benchmarks/ops.py --small
    KERAS_BACKEND=jax python benchmarks/ops.py --tables bandwidth --elements 67108864        # on a GPU

`pairs` shows time, memory and kernels of both forms, for the value and for the value with its gradients. The script
first checks that both forms give the same results. Then they take turns in one process. A ratio is formed in each
round; the table shows the median of the rounds, and their range. `programs.py` defines kernels and memory.

`bandwidth` shows the bytes that an elementwise function reads and writes per second, as a share of the rate of a copy
of an array of this size. Both take turns. The copy is the backend's negation, because a compiler may leave out a plain
copy.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # silences PyTorch's profiler, which counts calls

import keras
import numpy as np
from op_pairs import PAIRS, Pair
from programs import Program, modes, program, with_gradient

#: The minimum seconds for which a form runs in each round.
ROUND = 0.01
SMALL = 2**10


def forms(pair: Pair, size: int, mode: str, gradient: bool) -> tuple[dict[str, Program], int]:
    """Returns the programs of our form and of the naive form, if there is one, and the bytes of their arguments."""
    rng = np.random.default_rng(0)
    inputs: list[Any] = pair.inputs(rng, size)
    functions = {"ours": pair.ours} | ({} if pair.naive is None else {"naive": pair.naive})
    if gradient:
        value = keras.ops.convert_to_numpy(pair.ours(*map(keras.ops.convert_to_tensor, inputs)))
        inputs = [rng.normal(size=value.shape).astype("float32"), *inputs]
        functions = {name: with_gradient(function, pair.wrt) for name, function in functions.items()}
    programs = {name: program(function, inputs, mode) for name, function in functions.items()}
    return programs, sum(np.asarray(array).nbytes for array in inputs)


def check(name: str, programs: Mapping[str, Program], tolerance: float) -> None:
    """Raises an `AssertionError` unless all forms give the same finite numbers."""
    ours, *others = (
        [keras.ops.convert_to_numpy(result).astype("float64") for result in form.call()] for form in programs.values()
    )
    for result in ours:
        if not np.isfinite(result).all():
            raise AssertionError(f"{name} gives numbers that are not finite")
    for other in others:
        for mine, theirs in zip(ours, other, strict=True):
            largest = np.abs(theirs).max()
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * largest, err_msg=name)


def turns(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Returns the seconds per call in each round, for calls that take turns."""
    repeats = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        repeats[name] = min(1000, math.ceil(ROUND / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            times[name].append((time.perf_counter() - start) / repeats[name])
    return {name: np.array(seconds) for name, seconds in times.items()}


def size_of(array: Any) -> int:
    return math.prod(array.shape)


def spread(ratios: np.ndarray) -> str:
    return f"{np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f}"


def passes(pair: Pair) -> dict[str, bool]:
    """Returns the name of each pass, and whether the pass computes gradients."""
    return {"value": False} | ({"value and gradient": True} if pair.wrt else {})


def show_pairs(chosen: list[str], mode: str, given: argparse.Namespace) -> None:
    """Prints the table of time, memory and kernels."""
    print("| op | size | pass | backend | compiled | ours (ms) | naive / ours | range | memory (MiB) | kernels |")
    print(f"|{'---|' * 10}")
    for name in chosen:
        pair = PAIRS[name]
        if pair.naive is None:
            continue
        size = pair.small if given.small else pair.size
        for label, gradient in passes(pair).items():
            programs, _ = forms(pair, size, mode, gradient)
            check(f"{name}, {label}", programs, pair.tolerance)
            times = turns({form: one.call for form, one in programs.items()}, given.rounds)
            largest = max([*pair.inputs(np.random.default_rng(0), size), *programs["ours"].call()], key=size_of)
            shape = " x ".join(f"{length:,}" for length in largest.shape)
            memory = ["" if one.memory is None else f"{one.memory / 2**20:.1f}" for one in programs.values()]
            cells = [name, shape, label, keras.backend.backend(), mode, f"{1e3 * np.median(times['ours']):.3f}"]
            cells += [spread(times["naive"] / times["ours"]), ", ".join(filter(None, memory))]
            cells += [", ".join(str(one.kernels) for one in programs.values())]
            print(f"| {' | '.join(cells)} |", flush=True)


def show_bandwidth(chosen: list[str], mode: str, given: argparse.Namespace) -> None:
    """Prints the table that compares elementwise functions with a copy."""
    print("| op | pass | backend | compiled | MiB read and written | GiB/s | share of a copy's | range |")
    print(f"|{'---|' * 8}")
    elements = SMALL if given.small else given.elements
    zeros = np.zeros(elements, "float32")
    copy = program(keras.ops.negative, [zeros], mode)
    for name in chosen:
        if not PAIRS[name].elementwise:
            continue
        for label, gradient in passes(PAIRS[name]).items():
            programs, read = forms(PAIRS[name], elements, mode, gradient)
            ours = programs["ours"]
            moved = read + sum(keras.ops.convert_to_numpy(result).nbytes for result in ours.call())
            times = turns({"ours": ours.call, "copy": copy.call}, given.rounds)
            rate = moved / times["ours"]
            cells = [name, label, keras.backend.backend(), mode, f"{moved / 2**20:.0f}"]
            cells += [f"{np.median(rate) / 2**30:.1f}", spread(rate / (2 * zeros.nbytes / times["copy"]))]
            print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help=f"names out of {', '.join(PAIRS)}")
    parser.add_argument("--tables", default="pairs,bandwidth")
    parser.add_argument("--mode", default=modes()[0], choices=modes(), help="how functions are compiled")
    parser.add_argument("--elements", type=int, default=2**22, help="array size of `bandwidth`; use more on a GPU")
    parser.add_argument("--small", action="store_true", help="use small sizes, for a quick check")
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(PAIRS)
    before = os.getloadavg()[0]
    tables = {"pairs": show_pairs, "bandwidth": show_bandwidth}
    for table in given.tables.split(","):
        tables[table](chosen, given.mode, given)
        print()
    print(f"Load of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
