"""The hooks that a callback of one's own overrides, and the state that the trainer and checkpoints read."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_reg.training.terms import Batch, Term


class ObjectiveHooks(keras.callbacks.Callback):
    """Declares what `_objective` and `_checkpoint` may ask of a callback; `ObjectiveCallback` adds the life cycle.

    Args:
        save_memory: Whether checkpoints that are written during `fit` contain the state.
    """

    #: What the terms are called in the logs; `terms` returns the same keys.
    term_names: tuple[str, ...] = ()

    #: What else `terms` returns: shown in the logs, and not added to the loss.
    diagnostic_names: tuple[str, ...] = ()

    #: Whether the state means nothing to another model than the one that it was made for, which is an error then.
    one_model: bool = True

    def __init__(self, save_memory: bool = True) -> None:
        super().__init__()
        self.save_memory = save_memory
        self.state: list[keras.metrics.Metric] = []
        self.pending_state: dict[str, np.ndarray] = {}
        self.term_metrics: dict[str, Term] = {}
        self.made_for: weakref.ref[keras.Model] | None = None

    @property
    def logged_names(self) -> tuple[str, ...]:
        """Everything of this callback that is in the logs."""
        return self.term_names + self.diagnostic_names

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Makes the variables of the method. Called once, in the strategy scope, before the first step.

        Args:
            model: The compiled model.

        Returns:
            Metrics that hold the variables. They are saved with the model's weights while `fit` runs.
        """
        return []

    def saved_state(self) -> list[keras.metrics.Metric]:
        """The part of the state that a resumed training needs; all of it."""
        return self.state

    def check_model(self, model: keras.Model) -> None:
        """Raises a `ValueError` if the method cannot work on this compiled model. Called before each `fit`."""

    def check_state(self, read: Callable[[keras.Variable], Any]) -> None:
        """Raises a `ValueError` if the state shows bad input. Called after steps 1, 2, 4, 8, ... and each epoch.

        Args:
            read: Gives the present value of a variable of the state, as NumPy.
        """

    #: Whether `check_state` is called after every step.
    check_every_step: bool = False

    #: Whether `around_step`, `change_batch` and `after_step` are called.
    follows_steps: bool = False

    def rewrite_targets(self, batch: Batch) -> Any:
        """The labels that the compiled loss is computed with; the same structure as `batch.y`."""
        return batch.y

    def terms(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        """The terms to add to the loss.

        Args:
            batch: The batch, with rewritten targets.

        Returns:
            For each of `term_names` and `diagnostic_names` a pair (values, sample_weight): values of shape (batch,) in
            `compute_dtype()`, and the weights they get, or `None`. The loss gains the weighted mean over the batch of
            the former. A third entry, predictions of the model, lets their mask count as in the compiled loss.
        """
        return {}

    def around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        """In what the model's own `train_step` is traced, where `follows_steps` is true.

        Args:
            data: The batch as `train_step` gets it, on one replica.

        Returns:
            A context manager.
        """
        return contextlib.nullcontext()

    def change_batch(self, data: Any) -> Any:
        """The batch that the model's own `train_step` gets, where `follows_steps` is true; inside of `around_step`.

        Args:
            data: The batch as `train_step` gets it, on one replica, changed by the callbacks before this one.

        Returns:
            A batch of the same structure.
        """
        return data

    def after_step(self, data: Any) -> None:
        """What is done in the compiled step after the model's own `train_step`, where `follows_steps` is true.

        Args:
            data: The batch as `train_step` gets it, on one replica.
        """

    def detach(self) -> None:
        """Removes everything that the method put on the model."""
        raise NotImplementedError
