"""The small search of `--tune`: as many settings for each method, judged by the noisy validation split alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_reg.compare.methods import LEARNING_RATE, Parameters, Variant
from keras_reg.compare.runs import Run
from keras_reg.compare.settings import Settings

# How the search works, for the report.
DESCRIPTION = (
    "Before the scored runs, {trials} settings of each method were trained once with seed {seed}, which no scored run "
    "uses, and the one with the highest accuracy on the noisy validation split after the last epoch was taken."
)


def trials(variant: Variant, settings: Settings) -> tuple[dict[str, Any], ...]:
    """The settings that are tried for a variant; none for one whose parameters were written out."""
    if variant.given or not settings.tune:
        return ()
    return tuple(_scaled(setting, settings.learning_rate) for setting in variant.method.search)


def search(variant: Variant, settings: Settings, run_trial: Callable[[dict[str, Any], int], Run]) -> dict[str, Any]:
    """Finds the parameters of one variant.

    Args:
        variant: The method.
        settings: The comparison's settings.
        run_trial: Trains once with these parameters, as this trial.

    Returns:
        The parameters that did best; empty where nothing is searched.
    """
    best: dict[str, Any] = {}
    best_accuracy = -1.0
    for number, setting in enumerate(trials(variant, settings)):
        run = run_trial(variant.parameters(setting), number)
        accuracy = run.figure("val_accuracy", "last")
        # The default comes first and stays where another is only as good.
        if accuracy is not None and accuracy > best_accuracy:
            best, best_accuracy = setting, accuracy
    return best


def _scaled(setting: Parameters, learning_rate: float) -> dict[str, Any]:
    """A setting whose learning rate is no longer a multiple."""
    return {name: value * learning_rate if name == LEARNING_RATE else value for name, value in setting.items()}
