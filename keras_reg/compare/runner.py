"""Runs a comparison: every method with every seed. Each run is stored when it finishes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_reg._validation import check_boolean, is_integer, reject
from keras_reg.compare import environment, extras, strategies, tuning
from keras_reg.compare.catalogue import METHODS
from keras_reg.compare.datasets import Dataset, load_dataset
from keras_reg.compare.methods import Variant, parse_variants
from keras_reg.compare.models import find_model_function, resolve_name
from keras_reg.compare.noise import Noise, parse_noise
from keras_reg.compare.output_files import write_report, write_results
from keras_reg.compare.progress import Progress, make_progress
from keras_reg.compare.results import Comparison
from keras_reg.compare.runs import Run, make_run_key
from keras_reg.compare.settings import Settings
from keras_reg.compare.splits import split
from keras_reg.compare.store import Store
from keras_reg.compare.training import Trainer


def run(
    dataset: str | os.PathLike[str] = "digits",
    noise: str | os.PathLike[str] = "symmetric:0.4",
    methods: Sequence[str] = (),
    *,
    seeds: int | Sequence[int] = 3,
    epochs: int = 100,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Comparison:
    """Trains one model on one dataset with label noise, without a method and with each method, and compares them.

    Args:
        dataset: String. `"digits"`, `"wine"`, `"breast_cancer"`, `"cifar10"`, `"cifar100"`, `"fashion_mnist"`, or the
            path of an `.npz` file or of a folder of images. Defaults to `"digits"`.
        noise: String. `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or the path of a label file. Defaults to
            `"symmetric:0.4"`.
        methods: List of strings. The methods, optionally with parameters as in `"early_learning:strength=1"`. Empty
            means all methods. `"plain"`, which is training without a method, always runs. Defaults to `()`.
        seeds: Integer or list of integers. The number of runs per method, or their seeds. Defaults to `3`.
        epochs: Integer. The number of epochs of each run. Defaults to `100`.
        out: String. The folder for results, pictures and the page. `None` writes no files. Defaults to `None`.
        resume: Boolean. Whether to continue the comparison in the folder. Defaults to `False`.
        overwrite: Boolean. Whether to replace the comparison in the folder. Defaults to `False`.
        progress: Boolean. Whether to show progress on stderr. Defaults to `True`.
        **settings: `model`, `batch_size`, `optimizer`, `learning_rate`, `schedule`, `max_samples`, `strategy` and
            `tune`, as in `keras_reg.compare.settings.Settings`.

    Returns:
        A `keras_reg.compare.Comparison`. Print its `table`, or pass it to `keras_reg.compare.plot` or
        `keras_reg.compare.to_html`.

    Raises:
        ValueError: If an argument, a file or the data cannot be used.

    Example:

    ```python
    comparison = keras_reg.compare.run(
        "digits", "symmetric:0.4", seeds=1, epochs=30
    )
    print(comparison.table)
    ```
    """
    for name, value in {"resume": resume, "overwrite": overwrite, "progress": progress}.items():
        check_boolean(name, value)
    numbers = _to_tuple(
        "seeds", range(int(seeds)) if isinstance(seeds, (int, np.integer)) and is_integer(seeds) else seeds
    )
    checked = Settings(
        dataset=_to_string(dataset),
        noise=_to_string(noise),
        methods=_to_tuple("methods", methods),
        seeds=tuple(int(seed) if is_integer(seed) else seed for seed in numbers),
        epochs=epochs,
        **settings,
    )
    return compare(checked, out, resume=resume, overwrite=overwrite, progress=make_progress(progress))


def _to_string(source: Any) -> Any:
    return os.fspath(source) if isinstance(source, os.PathLike) else source


def _to_tuple(name: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str):
        reject(name, values, "must be a list")
    return tuple(values)


def compare(
    settings: Settings,
    out: str | os.PathLike[str] | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress,
) -> Comparison:
    """Runs a comparison with these settings. `run` and the command line call this function.

    Args:
        settings: The settings.
        out: The folder for the results, or `None`.
        resume: Whether to continue the comparison in the folder.
        overwrite: Whether to replace the comparison in the folder.
        progress: The progress to report to.

    Returns:
        The comparison.

    Raises:
        InputError: If the settings, a file or the data cannot be used.
    """
    # These packages are needed only at the end. A missing package raises here, before any training.
    extras.load("matplotlib.figure")
    extras.load("scipy.stats")
    noise = parse_noise(settings.noise)
    variants = parse_variants(settings.methods, METHODS)
    with strategies.scope(settings.strategy):
        pass
    dataset = load_dataset(settings.dataset)
    noise.check(dataset)
    trainer = Trainer(settings, dataset, noise, find_model_function(settings.model, dataset), progress)
    for variant in variants:
        trainer.try_out(variant, variant.parameters())
    facts = _describe_data(dataset, noise, settings)
    facts["model"] = resolve_name(settings.model, dataset)
    comparison = Comparison(settings, environment.describe(), facts, variants, dataset)
    store = Store(out)
    store.open(comparison.arguments, resume, overwrite)
    try:
        _train_all(comparison, trainer, store)
    finally:
        progress.close()
    write_report(comparison, store)
    return comparison


def _train_all(comparison: Comparison, trainer: Trainer, store: Store) -> None:
    """Trains every run that is not stored yet, and stores each run when it finishes."""
    settings, variants = comparison.settings, comparison.variants

    def get_run(variant: Variant, parameters: dict[str, Any], seed: int, trial: int | None = None) -> Run:
        run = store.get(make_run_key(variant.label, seed, trial))
        if run is None:
            run = trainer.train(variant, parameters, seed, trial)
            store.add(run)
        comparison.runs.append(run)
        write_results(comparison, store)
        return run

    planned = [(variant.label, seed, None) for seed in settings.seeds for variant in variants]
    trials = {variant.label: len(tuning.list_trials(variant, settings)) for variant in variants}
    searched = [(label, settings.tuning_seed, number) for label, count in trials.items() for number in range(count)]
    trainer.progress.begin(sum(store.get(make_run_key(*key)) is None for key in [*planned, *searched]))
    write_results(comparison, store)
    for variant in variants:
        if trials[variant.label]:
            best = tuning.search(
                variant, settings, lambda p, n, v=variant: get_run(v, p, settings.tuning_seed, n)  # type: ignore[misc]
            )  # fmt: skip
            comparison.tuned[variant.label] = best
    # All methods run with one seed before the next, so that their step times are measured under similar load.
    for seed in settings.seeds:
        for variant in variants:
            get_run(variant, variant.parameters(comparison.tuned.get(variant.label)), seed)


def _describe_data(dataset: Dataset, noise: Noise, settings: Settings) -> dict[str, Any]:
    """Returns facts about the data, for the split and the noise of the first seed."""
    parts = split(dataset, noise, settings.seeds[0], settings.max_samples)
    digest = zlib.crc32(np.ascontiguousarray(dataset.x).tobytes(), zlib.crc32(dataset.y.tobytes()))
    return {
        "name": dataset.name,
        "input_shape": list(dataset.x.shape[1:]),
        "class_names": list(dataset.class_names),
        "train": len(parts.train.x),
        "validation": len(parts.validation.x),
        "test": len(parts.test.x),
        "own_test_set": dataset.y_test is not None,
        "wrong_labels_train": float(parts.train.wrong.mean()),
        "wrong_labels_validation": float(parts.validation.wrong.mean()),
        "fingerprint": f"{digest if noise.labels is None else zlib.crc32(noise.labels.tobytes(), digest):08x}",
    }
