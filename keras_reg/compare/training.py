"""Trains one model once, with one method and one seed."""

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
from keras_reg.compare.errors import InputError, one_line
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
    """Everything that the trainings of one comparison have in common.

    Attributes:
        settings: What the comparison is asked to do.
        dataset: The data.
        noise: The label noise.
        build_model: The function of the model.
        progress: Where progress is shown.
    """

    settings: Settings
    dataset: Dataset
    noise: Noise
    build_model: ModelFunction
    progress: Progress

    def train(self, variant: Variant, parameters: dict[str, Any], seed: int, trial: int | None = None) -> Run:
        """Trains once.

        Args:
            variant: The method.
            parameters: All its parameters.
            seed: Decides split, noise, initial weights and shuffling.
            trial: Which setting of a search this is.

        Returns:
            The finished run.
        """
        began = time.perf_counter()
        settings = self.settings
        parts = split(self.dataset, self.noise, seed, settings.max_samples)
        self.progress.start_run(_title(variant, seed, trial), settings.epochs)
        # Without this the models and graphs of earlier runs would stay in memory.
        keras.utils.clear_session(free_memory=True)
        keras.utils.set_random_seed(seed)
        clock = Clock()
        with strategies.scope(settings.strategy):
            plan = variant.method.plan(self._context(parts), parameters)
            rate = self._learning_rate(parameters, len(parts.train.x))
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
            suspects=_suspects(plan, parts),
            extra_bytes=variant.method.extra_bytes(len(parts.train.x), self.dataset.num_classes),
            seconds=time.perf_counter() - began,
        )
        self.progress.end_run(_summary(run))
        del plan, recorder
        gc.collect()
        return run

    def try_out(self, variant: Variant, parameters: Parameters) -> None:
        """Builds, but does not train, what a variant would train, so that bad parameters fail before any training.

        Raises:
            InputError: If the method refuses its parameters or the model.
        """
        parts = split(self.dataset, self.noise, self.settings.seeds[0], self.settings.max_samples)
        try:
            with strategies.scope(self.settings.strategy):
                variant.method.plan(self._context(parts), parameters)
        except (ValueError, TypeError) as error:
            raise InputError(f"{variant.label}: {one_line(error)}") from error

    def _learning_rate(self, parameters: Parameters, samples: int) -> Any:
        """The learning rate of one run, or its schedule."""
        settings = self.settings
        rate = parameters.get(LEARNING_RATE, settings.learning_rate)
        if settings.schedule == "constant":
            return rate
        return keras.optimizers.schedules.CosineDecay(rate, math.ceil(samples / settings.batch_size) * settings.epochs)

    def _context(self, parts: Split) -> Context:
        """What a method may build a run from."""
        shape = tuple(self.dataset.x.shape[1:])
        return Context(
            build_model=lambda: self.build_model(shape, self.dataset.num_classes),
            x=parts.train.x,
            y=parts.train.given,
            num_classes=self.dataset.num_classes,
            epochs=self.settings.epochs,
            batch_size=self.settings.batch_size,
        )


def _title(variant: Variant, seed: int, trial: int | None) -> str:
    """The name of a run in the progress."""
    return f"{variant.label}, seed {seed}" if trial is None else f"{variant.label}, search {trial + 1}"


def _summary(run: Run) -> str:
    """The line that a finished run leaves."""

    def percent(name: str, choice: str) -> str:
        value = run.figure(name, choice)
        return "-" if value is None else f"{100 * value:.1f} %"

    if run.trial is not None:
        return f"{run.seconds:.1f} s, validation accuracy {percent('val_accuracy', 'last')}"
    epoch = run.epoch("chosen") + 1
    last, chosen = percent("test_accuracy", "last"), percent("test_accuracy", "chosen")
    return f"{run.seconds:.1f} s, test accuracy {last} at the end, {chosen} at epoch {epoch}"


def _suspects(plan: Plan, parts: Split) -> dict[str, list[Any]] | None:
    """The suspected labels after training, the surest first."""
    if plan.suspects is None:
        return None
    found = plan.suspects()
    order = [int(row) for row in (-found.margin).argsort(kind="stable") if found.suspected[row]]
    return {
        "index": parts.train.index[order].tolist(),
        "given": parts.train.given[order].tolist(),
        "suggested": found.suggested[order].tolist(),
        "true": parts.train.true[order].tolist(),
        "margin": [round(float(value), 6) for value in found.margin[order]],
    }
