"""The main job: every method with every seed, stored as each run finishes."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_reg.compare import environment, extras, strategies, tuning
from keras_reg.compare.catalogue import METHODS
from keras_reg.compare.datasets import Dataset, load_dataset
from keras_reg.compare.methods import Variant, parse_variants
from keras_reg.compare.models import model_function, resolve_name
from keras_reg.compare.noise import Noise, parse_noise
from keras_reg.compare.output_files import write_report, write_results
from keras_reg.compare.progress import Progress, make_progress
from keras_reg.compare.results import Comparison
from keras_reg.compare.runs import Run, run_key
from keras_reg.compare.settings import Settings
from keras_reg.compare.splits import split
from keras_reg.compare.store import Store
from keras_reg.compare.training import Trainer


def run(
    dataset: str = "digits",
    noise: str = "symmetric:0.4",
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
    """Trains one model on one data set with label noise, plain and with each method, and compares them.

    Args:
        dataset: `"digits"`, `"wine"`, `"breast_cancer"`, `"cifar10"`, `"cifar100"`, `"fashion_mnist"`, an `.npz` file
            or a folder of images.
        noise: `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or a label file.
        methods: Methods, each perhaps with parameters, as `"early_learning:strength=1"`; empty for all of them.
        seeds: How many runs each method gets, or their seeds.
        epochs: The epochs of each run.
        out: The folder for results, pictures and the page; `None` to write nothing.
        resume: Whether to go on with the comparison in that folder.
        overwrite: Whether to replace it.
        progress: Whether to show progress on stderr.
        **settings: `model`, `batch_size`, `optimizer`, `learning_rate`, `schedule`, `max_samples`, `strategy` and
            `tune`, as in `keras_reg.compare.settings.Settings`.

    Returns:
        The comparison. Print its `table`, or give it to `keras_reg.compare.plot` or `keras_reg.compare.to_html`.

    Raises:
        InputError: (a `ValueError`) If an argument, a file or the data cannot be used.

    Example:

    ```python
    comparison = keras_reg.compare.run("digits", "symmetric:0.4", seeds=1, epochs=30)
    print(comparison.table)
    ```
    """
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    asked = Settings(dataset=dataset, noise=noise, methods=tuple(methods), seeds=numbers, epochs=epochs, **settings)
    return compare(asked, out, resume=resume, overwrite=overwrite, progress=make_progress(progress))


def compare(
    settings: Settings,
    out: str | os.PathLike[str] | None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress,
) -> Comparison:
    """Does what the settings ask for; `run` and the command line end here."""
    # What would fail at the end fails now.
    extras.load("matplotlib.figure")
    extras.load("scipy.stats")
    noise = parse_noise(settings.noise)
    variants = parse_variants(settings.methods, METHODS)
    with strategies.scope(settings.strategy):
        pass
    dataset = load_dataset(settings.dataset)
    noise.check(dataset)
    trainer = Trainer(settings, dataset, noise, model_function(settings.model, dataset), progress)
    for variant in variants:
        trainer.try_out(variant, variant.parameters())
    facts = _facts(dataset, noise, settings)
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
    """Runs whatever is not stored yet, and stores each run as it finishes."""
    settings, variants = comparison.settings, comparison.variants

    def obtain(variant: Variant, parameters: dict[str, Any], seed: int, trial: int | None = None) -> Run:
        run = store.get(run_key(variant.label, seed, trial))
        if run is None:
            run = trainer.train(variant, parameters, seed, trial)
            store.add(run)
        comparison.runs.append(run)
        write_results(comparison, store)
        return run

    planned = [(variant.label, seed, None) for seed in settings.seeds for variant in variants]
    searched = [(v.label, settings.tuning_seed, n) for v in variants for n in range(len(tuning.trials(v, settings)))]
    trainer.progress.begin(sum(store.get(run_key(*key)) is None for key in [*planned, *searched]))
    write_results(comparison, store)
    for variant in variants:
        if tuning.trials(variant, settings):
            best = tuning.search(
                variant, settings, lambda p, n, v=variant: obtain(v, p, settings.tuning_seed, n)  # type: ignore[misc]
            )  # fmt: skip
            comparison.tuned[variant.label] = best
    # Seed by seed, so that the methods' step times are compared under the same load.
    for seed in settings.seeds:
        for variant in variants:
            obtain(variant, variant.parameters(comparison.tuned.get(variant.label)), seed)


def _facts(dataset: Dataset, noise: Noise, settings: Settings) -> dict[str, Any]:
    """The data as the first seed sees them."""
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
