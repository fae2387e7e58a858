"""The command line: `python -m keras_reg compare`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from keras_reg.compare.backend import BACKENDS, get_active_backend
from keras_reg.compare.errors import InputError, format_error
from keras_reg.compare.settings import STRATEGIES, Settings, parse_seeds

_DESCRIPTION = """Trains one model on one real dataset with label noise, without a method (plain) and with each
method, for each seed, and reports the differences. The defaults are the handwritten digits of scikit-learn with 40
percent wrong labels, all methods, and three seeds."""


class _Parser(argparse.ArgumentParser):
    """Reports an invalid argument in one line, like other invalid input."""

    def error(self, message: str) -> NoReturn:
        raise InputError(format_error(ValueError(message)))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: The arguments. Defaults to `None`, which uses those of the process.

    Returns:
        The exit code: 0, 2 for invalid input, or 130 after an interruption.
    """
    out = None
    try:
        options = _build_parser().parse_args(argv)
        out = options.out
        _compare(options)
    except InputError as error:
        print(f"keras-reg: error: {format_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = f"; finished runs are in {out!r}, add --resume to continue" if out else ""
        print(f"keras-reg: interrupted{hint}", file=sys.stderr)
        return 130
    return 0


def _build_parser() -> argparse.ArgumentParser:
    """Builds the argument parser."""
    parser = _Parser(prog="keras-reg", description="Training regularizers for Keras 3.")
    commands = parser.add_subparsers(dest="command", required=True)
    summary = "train with label noise, without a method and with each method"
    job = commands.add_parser("compare", help=summary, description=_DESCRIPTION)
    _add_data_and_methods(job, Settings())
    _add_training(job, Settings())
    add = job.add_argument
    add("--backend", help=f"{', '.join(BACKENDS)} (default: the configured backend of Keras)")
    add("--out", default="comparison", help="the folder for the results (default: comparison)")
    add("--resume", action="store_true", help="continue the comparison in that folder")
    add("--overwrite", action="store_true", help="replace the comparison in that folder")
    add("--json", action="store_true", help="print only the results, as JSON, to stdout")
    return parser


def _add_data_and_methods(job: argparse.ArgumentParser, default: Settings) -> None:
    """Adds the arguments for the data, the noise, the methods and the model."""
    add = job.add_argument
    add(
        "--dataset",
        default=default.dataset,
        metavar="NAME|FILE.npz|FOLDER",
        help="digits, wine, breast_cancer, cifar10, cifar100, fashion_mnist, an .npz file with x and y (or x_train,"
        " y_train, x_test, y_test), or a folder with one sub-folder of images per class (default: digits)",
    )
    add(
        "--noise",
        default=default.noise,
        metavar="SPEC",
        help="symmetric:RATE, asymmetric:RATE, none, or a file with the labels to train on (.npy, .npz, .csv, .txt,"
        " .pt; FILE#NAME selects an array) (default: symmetric:0.4)",
    )
    add(
        "--methods",
        default="",
        metavar="A,B:PARAMETER=VALUE",
        help="methods separated by commas, each with parameters after colons (default: all; plain always runs)",
    )
    add(
        "--model",
        default=default.model,
        metavar="NAME",
        help="mlp, cnn, resnet, a function package.module:function of (input_shape, num_classes) that returns a model"
        " with logits, or auto (default: auto, an mlp for tables and for images below 16 pixels, otherwise a cnn)",
    )


def _add_training(job: argparse.ArgumentParser, default: Settings) -> None:
    """Adds the arguments for the training of each run."""
    add = job.add_argument
    add(
        "--seeds",
        default="3",
        metavar="N|A,B,C",
        help="the number of seeds, or the seeds (default: 3, which means 0,1,2)",
    )
    add("--epochs", type=int, default=default.epochs, help="(default: %(default)s)")
    add("--batch-size", type=int, default=default.batch_size, help="(default: %(default)s)")
    add("--optimizer", default=default.optimizer, help="adam, or sgd with momentum 0.9 (default: %(default)s)")
    add("--learning-rate", type=float, default=default.learning_rate, help="(default: %(default)s)")
    add("--schedule", default=default.schedule, help="constant, or cosine, which decreases to 0 (default: %(default)s)")
    add("--max-samples", type=int, help="the largest number of samples, which are drawn by the seed (default: all)")
    add(
        "--tune",
        action="store_true",
        help="search the parameters of each method on the validation split of a separate seed",
    )
    add(
        "--strategy",
        default=default.strategy,
        help=f"{' or '.join(STRATEGIES)}; mirrored trains on every GPU, or on two CPU replicas (TensorFlow)",
    )


def _compare(options: argparse.Namespace) -> None:
    """Runs the comparison and prints the results."""
    _check_backend(options.backend)
    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite are mutually exclusive")
    settings = Settings(
        dataset=options.dataset,
        noise=options.noise,
        methods=tuple(word for word in options.methods.split(",") if word.strip()),
        model=options.model,
        seeds=parse_seeds(options.seeds),
        epochs=options.epochs,
        batch_size=options.batch_size,
        optimizer=options.optimizer,
        learning_rate=options.learning_rate,
        schedule=options.schedule,
        max_samples=options.max_samples,
        strategy=options.strategy,
        tune=options.tune,
    )
    from keras_reg.compare.progress import make_progress
    from keras_reg.compare.runner import compare

    # Keras and the backends print to stdout, which is reserved for the results.
    with contextlib.redirect_stdout(sys.stderr):
        result = compare(
            settings, options.out, resume=options.resume, overwrite=options.overwrite, progress=make_progress(True)
        )
    if options.json:
        print(json.dumps(result.as_dict(), allow_nan=False))
    else:
        _print_table(result)
        print(f"Full report: {options.out}/index.html")


def _check_backend(backend: str | None) -> None:
    """Raises an `InputError` if a backend is unknown, or if Keras runs on another backend in this process."""
    if backend is None:
        return
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; known backends are {', '.join(BACKENDS)}")
    active = get_active_backend()
    if active != backend:
        raise InputError(f"Keras already runs on {active}; start with KERAS_BACKEND={backend} to use {backend}")


def _print_table(result: Any) -> None:
    """Prints the table, drawn by rich on a terminal and as text elsewhere."""
    from keras_reg.compare import extras

    try:
        make, console = extras.load("rich.table").Table, extras.load("rich.console").Console()
    except InputError:
        console = None
    if console is None or not sys.stdout.isatty():
        print(result.table)
        return
    widest = max(len(line) for line in str(result.table).splitlines())
    tables = [_build_table(result.table, make)] if console.width > widest else _build_tables(result.table, make)
    for table in tables:
        console.print(table)


def _build_table(rows: Any, make: Callable[..., Any]) -> Any:
    """Builds one table with a column for each figure."""
    from keras_reg.compare.table import HEADINGS, format_row

    table = make(*HEADINGS)
    for row in rows:
        table.add_row(*format_row(row), end_section=row["epoch"] == "chosen")
    return table


def _build_tables(rows: Any, make: Callable[..., Any]) -> list[Any]:
    """Builds a table per method with a row per figure, for terminals that are too narrow for all columns."""
    from keras_reg.compare.table import HEADINGS, format_row

    tables = []
    for label in dict.fromkeys(row["method"] for row in rows):
        cells = [format_row(row) for row in rows if row["method"] == label]
        table = make("epoch", *(cell[1] for cell in cells), title=cells[0][0], title_justify="left")
        for heading, *figures in list(zip(HEADINGS, *cells, strict=True))[2:]:
            table.add_row(heading, *figures)
        tables.append(table)
    return tables
