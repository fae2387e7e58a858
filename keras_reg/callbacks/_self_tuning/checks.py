"""What self-tuning refuses, and what it warns of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_reg._keras import trainer
from keras_reg._keras.sublayers import iter_sublayers
from keras_reg._warnings import NoEffectWarning
from keras_reg.callbacks.hyperparameter_schedule import ScheduleCallback
from keras_reg.layers import WeightCompander
from keras_reg.layers._hyper import HyperLayer
from keras_reg.training import PerSampleCallback
from keras_reg.tune.hyperparameter import Hyperparameter


def chosen(found: dict[str, list[Hyperparameter]], handles: Iterable[Any]) -> dict[str, list[Hyperparameter]]:
    """Those hyperparameters that the user names, with all objects of these names in the model.

    Raises:
        ValueError: If something else is among them.
    """
    handles = list(handles)
    for handle in handles:
        if not isinstance(handle, Hyperparameter):
            raise ValueError(f"`hyperparameters` must be a list of `keras_reg.tune.Float`. Received: {handle!r} in it")
    return {handle.name: found.get(handle.name, [handle]) for handle in handles}


def own_optimizer(optimizer: Any, model: keras.Model) -> keras.optimizers.Optimizer:
    """The optimizer of the response.

    Raises:
        ValueError: If it trains something else.
    """
    found = keras.optimizers.get(optimizer or keras.optimizers.Adam(1e-3))
    if found.built or found is model.optimizer:
        raise ValueError(
            "`response_optimizer` needs an optimizer of its own, which trains nothing yet. "
            f"Received: response_optimizer={found!r}"
        )
    return found


def refuse_without_response(model: keras.Model) -> None:
    """Looks for layers that answer to hyperparameters themselves.

    Raises:
        ValueError: If there is none, or others that cannot have a value for each sample.
    """
    layers = [layer for layer, _ in iter_sublayers(model)]
    if not any(isinstance(layer, HyperLayer) for layer in layers):
        raise ValueError(
            "With `method='stn'` the model needs layers whose weights respond, such as "
            f"`keras_reg.layers.HyperDense`. Received: method='stn' and {model!r}"
        )
    companded = [layer.name for layer in layers if isinstance(layer, WeightCompander) and layer.has_hyperparameters]
    if companded:
        raise ValueError(
            "With `method='stn'` each sample has hyperparameters of its own, of which a kernel can have one: tune the "
            f"scales of a WeightCompander with `method='delta'`. Received: method='stn' and the layers {companded}"
        )


def refuse_others(callback: keras.callbacks.Callback, names: Iterable[str]) -> None:
    """Looks who trains together with a callback that tunes hyperparameters of these names; call it from a hook.

    Raises:
        ValueError: If one keeps something for each sample, tunes too, or sets one of these hyperparameters.
    """
    together = trainer.find_fit_callbacks(callback)
    others = [type(other).__name__ for other in together if isinstance(other, PerSampleCallback)]
    if others:
        raise ValueError(
            "SelfTuning passes each batch through the model a second time, where a callback that keeps something "
            f"for each sample would count it twice: train with one of them. Received: SelfTuning and {others}"
        )
    if any(other is not callback and isinstance(other, type(callback)) for other in together):
        raise ValueError(
            "One SelfTuning tunes all hyperparameters together: give it all those of the others. Received: "
            f"{sum(isinstance(other, type(callback)) for other in together)} of them in one `fit`"
        )
    tuned = set(names)
    for other in together:
        if isinstance(other, ScheduleCallback) and tuned & other.planned:
            raise ValueError(
                "Two callbacks would move the same hyperparameters: take them out of the schedule, or give SelfTuning "
                "those that it is to tune, as its `hyperparameters`. "
                f"Received: SelfTuning and {type(other).__name__} for {sorted(tuned & other.planned)}"
            )


def warn_of_the_same_data(tuning_data: Any) -> None:
    """Says so if `fit` trains on the tuning data, or validates with them; call it from a hook."""
    for name, data in trainer.find_fit_data().items():
        if _share_memory(data, tuning_data):
            warnings.warn(
                f"The tuning data is the {name} data: hyperparameters that are fitted to it look better there than "
                "they are. Give `tuning_data` samples that are in neither.",
                UserWarning,
                stacklevel=3,
            )


def warn_of_bounds_and_unused(handles: dict[str, list[Hyperparameter]], used: set[str]) -> None:
    """Says which hyperparameters have come to a bound, and which ones the model does not read."""
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
            f"The model does not use the hyperparameter {name!r} in training, so that it was not tuned. Give it to "
            "a layer or regularizer of the model, or leave it out.",
            NoEffectWarning,
            stacklevel=3,
        )


def _share_memory(data: Any, other: Any) -> bool:
    """Whether two data sets are one object, or have an array in common."""
    if data is None or other is None:
        return False
    leaves = ([leaf for leaf in keras.tree.flatten(d) if isinstance(leaf, np.ndarray)] for d in (data, other))
    first, second = leaves
    return data is other or any(np.shares_memory(a, b) for a in first for b in second)
