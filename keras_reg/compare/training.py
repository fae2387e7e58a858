"""Trains one model with one method and one seed."""

from __future__ import annotations

import dataclasses
import gc
import math
import time
from collections.abc import Callable
from typing import Any

import keras

from keras_reg.compare import strategies
from keras_reg.compare.datasets import Dataset
from keras_reg.compare.errors import InputError, format_error
from keras_reg.compare.methods import LEARNING_RATE, Context, Parameters, Plan, Variant
from keras_reg.compare.models import ModelFunction
from keras_reg.compare.noise import Noise
from keras_reg.compare.progress import Progress
from keras_reg.compare.recorder import Clock, Recorder
from keras_reg.compare.runs import Run
from keras_reg.compare.settings import Settings
from keras_reg.compare.splits import Split, split

_OPTIMIZERS: dict[str, Callable[[Any], keras.optimizers.Optimizer]] = {
    "adam": keras.optimizers.Adam,
    "sgd": lambda learning_rate: keras.optimizers.SGD(learning_rate, momentum=0.9),
}


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains the runs of one comparison.

    Attributes:
        settings: The settings of the comparison.
        dataset: The data.
        noise: The label noise.
        build_model: The function that builds the model.
        progress: The progress to report to.
    """

    settings: Settings
    dataset: Dataset
    noise: Noise
    build_model: ModelFunction
    progress: Progress

    def train(self, variant: Variant, parameters: dict[str, Any], seed: int, trial: int | None = None) -> Run:
        """Trains one run.

        Args:
            variant: The method.
            parameters: All parameters of the method.
            seed: The seed, which determines the split, the noise, the initial weights and the order of the samples.
            trial: The number of the setting in a search, or `None` for a scored run.

        Returns:
            The finished run.
        """
        start = time.perf_counter()
        settings = self.settings
        parts = split(self.dataset, self.noise, seed, settings.max_samples)
        self.progress.start_run(_make_title(variant, seed, trial), settings.epochs)
        # Otherwise, the models and graphs of earlier runs would stay in memory.
        keras.utils.clear_session(free_memory=True)
        keras.utils.set_random_seed(seed)
        clock = Clock()
        with strategies.scope(settings.strategy):
            plan = variant.method.plan(self._make_context(parts), parameters)
            rate = self._make_learning_rate(parameters, len(parts.train.x))
            plan.model.compile(optimizer=_OPTIMIZERS[settings.optimizer](rate), loss=plan.loss, metrics=["accuracy"])
        recorder = Recorder(clock, plan, parts, self.progress, distributed=settings.strategy != "none")
        plan.model.fit(
            plan.x,
            plan.y,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            verbose=0,
            callbacks=[clock, *plan.callbacks, recorder],
        )
        run = Run(
            label=variant.label,
            seed=seed,
            trial=trial,
            parameters=parameters,
            history=recorder.history,
            suspects=_list_suspects(plan, parts),
            extra_bytes=variant.method.extra_bytes(len(parts.train.x), self.dataset.num_classes),
            seconds=time.perf_counter() - start,
        )
        self.progress.end_run(_summarize(run))
        del plan, recorder
        gc.collect()
        return run

    def try_out(self, variant: Variant, parameters: Parameters) -> None:
        """Builds the plan of a variant, so that invalid parameters raise before any training.

        Raises:
            InputError: If the method rejects its parameters or the model.
        """
        parts = split(self.dataset, self.noise, self.settings.seeds[0], self.settings.max_samples)
        try:
            with strategies.scope(self.settings.strategy):
                variant.method.plan(self._make_context(parts), parameters)
        except (ValueError, TypeError) as error:
            raise InputError(f"{variant.label}: {format_error(error)}") from error

    def _make_learning_rate(self, parameters: Parameters, samples: int) -> Any:
        """Returns the learning rate of one run, or its schedule."""
        settings = self.settings
        rate = parameters.get(LEARNING_RATE, settings.learning_rate)
        if settings.schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, math.ceil(samples / settings.batch_size) * settings.epochs)

    def _make_context(self, parts: Split) -> Context:
        """Returns the context from which a method builds a run."""
        shape = tuple(self.dataset.x.shape[1:])
        return Context(
            build_model=lambda: self.build_model(shape, self.dataset.num_classes),
            x=parts.train.x,
            y=parts.train.labels,
            num_classes=self.dataset.num_classes,
            epochs=self.settings.epochs,
            batch_size=self.settings.batch_size,
        )


def _make_title(variant: Variant, seed: int, trial: int | None) -> str:
    """Returns the name of a run in the progress."""
    return f"{variant.label}, seed {seed}" if trial is None else f"{variant.label}, search setting {trial + 1}"


def _summarize(run: Run) -> str:
    """Returns the line of a finished run in the progress."""

    def format_percent(name: str, choice: str) -> str:
        value = run.figure(name, choice)
        return "-" if value is None else f"{100 * value:.1f} %"

    if run.trial is not None:
        return f"{run.seconds:.1f} s, validation accuracy {format_percent('val_accuracy', 'last')}"
    epoch = run.epoch("chosen") + 1
    last, chosen = format_percent("test_accuracy", "last"), format_percent("test_accuracy", "chosen")
    return f"{run.seconds:.1f} s, test accuracy {last} at the last epoch, {chosen} at the chosen epoch {epoch}"


def _list_suspects(plan: Plan, parts: Split) -> dict[str, list[Any]] | None:
    """Returns the suspected labels after training as columns, with the largest margins first."""
    if plan.find_suspects is None:
        return None
    suspects = plan.find_suspects()
    order = [int(row) for row in (-suspects.margin).argsort(kind="stable") if suspects.suspected[row]]
    return {
        "index": parts.train.index[order].tolist(),
        "given": parts.train.labels[order].tolist(),
        "suggested": suspects.suggested[order].tolist(),
        "true": parts.train.true_labels[order].tolist(),
        "margin": [round(float(value), 6) for value in suspects.margin[order]],
    }
