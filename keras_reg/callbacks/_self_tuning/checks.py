"""The errors and warnings of self-tuning."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_reg._keras import trainer
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._types import Structure
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks.hyperparameter_schedule import ScheduleCallback
from keras_reg.layers import WeightCompander
from keras_reg.layers._hyper import HyperLayer
from keras_reg.training import PerSampleCallback
from keras_reg.tune._hyperparameter import Hyperparameter


def select_hyperparameters(
    by_name: dict[str, list[Hyperparameter]], selection: Iterable[Any]
) -> dict[str, list[Hyperparameter]]:
    """Returns the hyperparameters that the user selects, with all objects of these names in the model.

    Args:
        by_name: The hyperparameters of the model.
        selection: The user's list.

    Raises:
        ValueError: If the list contains something else.
    """
    handles = list(selection)
    for handle in handles:
        if not isinstance(handle, Hyperparameter):
            raise ValueError(f"`hyperparameters` must be a list of `keras_reg.tune.Float`. Received: {handle!r} in it")
    return {handle.name: by_name.get(handle.name, [handle]) for handle in handles}


def create_response_optimizer(argument: Any, model: keras.Model) -> keras.optimizers.Optimizer:
    """Returns the optimizer of the response.

    Args:
        argument: An optimizer, its name, its configuration, or `None` for the default.
        model: The model.

    Raises:
        ValueError: If the optimizer already trains something.
    """
    optimizer = keras.optimizers.get(argument or keras.optimizers.Adam(1e-3))
    if optimizer.built or optimizer is model.optimizer:
        raise ValueError(
            "`response_optimizer` must be a separate optimizer that trains nothing yet. "
            f"Received: response_optimizer={optimizer!r}"
        )
    return optimizer


def check_responding_layers(model: keras.Model) -> None:
    """Checks that the layers of a model can be tuned with `kind="stn"`.

    Raises:
        ValueError: If no layer responds to hyperparameters, or a layer cannot have a value for each sample.
    """
    layers = [layer for layer, _ in iter_sublayers(model)]
    if not any(isinstance(layer, HyperLayer) for layer in layers):
        raise ValueError(
            "With `kind='stn'` the model needs layers whose weights respond to hyperparameters, such as "
            f"`keras_reg.layers.HyperDense`. Received: kind='stn' and {model!r}"
        )
    companded = [layer.name for layer in layers if isinstance(layer, WeightCompander) and layer.has_hyperparameters]
    if companded:
        raise ValueError(
            "With `kind='stn'` each sample has its own hyperparameters, but a kernel can have only one value. Tune the "
            f"scales of a WeightCompander with `kind='delta'`. Received: kind='stn' and the layers {companded}"
        )


def check_other_callbacks(callback: keras.callbacks.Callback, names: Iterable[str]) -> None:
    """Checks that no other callback of the same `fit` conflicts with a tuner. Call it from a hook.

    Args:
        callback: The tuner.
        names: The names of the hyperparameters that it tunes.

    Raises:
        ValueError: If a callback stores rows per sample, also tunes, or sets one of these hyperparameters.
    """
    callbacks = trainer.find_fit_callbacks(callback)
    per_sample = [type(other).__name__ for other in callbacks if isinstance(other, PerSampleCallback)]
    if per_sample:
        raise ValueError(
            "SelfTuning passes each batch through the model a second time, and a callback that stores rows per sample "
            f"would count it twice. Train with only one of them. Received: SelfTuning and {per_sample}"
        )
    if any(other is not callback and isinstance(other, type(callback)) for other in callbacks):
        raise ValueError(
            "One SelfTuning tunes all hyperparameters together. Use only one of them. Received: "
            f"{sum(isinstance(other, type(callback)) for other in callbacks)} of them in one `fit`"
        )
    tuned = set(names)
    for other in callbacks:
        if isinstance(other, ScheduleCallback) and tuned & other.scheduled_names:
            raise ValueError(
                "Two callbacks would change the same hyperparameters. Remove them from the schedule, or pass only the "
                "others to SelfTuning, as `hyperparameters`. "
                f"Received: SelfTuning and {type(other).__name__} for {sorted(tuned & other.scheduled_names)}"
            )


def warn_about_shared_data(tuning_data: Structure) -> None:
    """Warns if `fit` trains on the tuning data, or validates with it. Call it from a hook."""
    for name, data in trainer.find_fit_data().items():
        if _share_memory(data, tuning_data):
            warnings.warn(
                f"The tuning data is the {name} data. Hyperparameters are fitted to the tuning data, so results "
                "on it are too good. Pass `tuning_data` that is neither training nor validation data.",
                UserWarning,
                stacklevel=3,
            )


def warn_about_bounds_and_unused(handles: dict[str, list[Hyperparameter]], used: set[str]) -> None:
    """Warns about hyperparameters that have reached a bound, and about those that the model does not read."""
    for name, group in handles.items():
        bound = group[0].bound_reached()
        if bound is not None:
            warnings.warn(
                f"The hyperparameter {name!r} has reached its bound {bound:g}: it is {group[0].value:.4g}. If other "
                "values make sense, widen its range.",
                UserWarning,
                stacklevel=3,
            )
    for name in sorted(set(handles) - used):
        warnings.warn(
            f"The model does not use the hyperparameter {name!r} during training, so it was not tuned. "
            "Give it to a layer or regularizer of the model, or do not tune it.",
            NoEffectWarning,
            stacklevel=3,
        )


def _share_memory(data: Structure, other: Structure) -> bool:
    """Returns True if two datasets are the same object or share an array."""
    if data is None or other is None:
        return False
    leaves = ([leaf for leaf in keras.tree.flatten(d) if isinstance(leaf, np.ndarray)] for d in (data, other))
    first, second = leaves
    return data is other or any(np.shares_memory(a, b) for a in first for b in second)
