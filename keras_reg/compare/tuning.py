"""The search of `--tune`: the same number of settings for each method, compared on the noisy validation split."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras_reg.compare.methods import LEARNING_RATE, Parameters, Variant
from keras_reg.compare.runs import Run
from keras_reg.compare.settings import Settings

#: The description of the search in the report.
DESCRIPTION = (
    "Before the scored runs, {trials} settings of each method were trained once with seed {seed}, which no scored run "
    "uses. The setting with the highest accuracy on the noisy validation split after the last epoch was selected."
)


def list_trials(variant: Variant, settings: Settings) -> tuple[dict[str, Any], ...]:
    """Returns the settings to try for a variant. The list is empty if the user chose its parameters."""
    if variant.overrides or not settings.tune:
        return ()
    return tuple(_scale_learning_rate(setting, settings.learning_rate) for setting in variant.method.search)


def search(variant: Variant, settings: Settings, run_trial: Callable[[dict[str, Any], int], Run]) -> dict[str, Any]:
    """Searches for the parameters of one variant.

    Args:
        variant: The method.
        settings: The settings of the comparison.
        run_trial: A function of the parameters and the number of the trial. It trains, and returns the run.

    Returns:
        The parameters with the highest validation accuracy. It is empty if there is no search.
    """
    best: dict[str, Any] = {}
    best_accuracy = -1.0
    for number, setting in enumerate(list_trials(variant, settings)):
        run = run_trial(variant.parameters(setting), number)
        accuracy = run.figure("val_accuracy", "last")
        # The default comes first and is kept if another setting is equally good.
        if accuracy is not None and accuracy > best_accuracy:
            best, best_accuracy = setting, accuracy
    return best


def _scale_learning_rate(setting: Parameters, learning_rate: float) -> dict[str, Any]:
    """Returns a setting whose learning rate is multiplied by that of the comparison."""
    return {name: value * learning_rate if name == LEARNING_RATE else value for name, value in setting.items()}
