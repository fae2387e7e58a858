"""The hooks of `ObjectiveCallback` that subclasses override, and the state that the trainer and checkpoints read."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

import keras
import numpy as np

from keras_reg._types import Array, Structure, Tensor
from keras_reg.training.terms import Batch, Term


class ObjectiveHooks(keras.callbacks.Callback):
    """Declares the hooks that the trainer and checkpoints use. `ObjectiveCallback` adds the life cycle.

    Args:
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the state. Defaults to `True`.
    """

    #: The names of the terms in the logs. `terms` returns the same keys.
    term_names: tuple[str, ...] = ()

    #: More keys that `terms` returns. They are shown in the logs and not added to the loss.
    diagnostic_names: tuple[str, ...] = ()

    #: Whether the state belongs to one model. If so, a `fit` of another model raises an error.
    one_model: bool = True

    #: Whether `check_state` is called after every step.
    check_every_step: bool = False

    #: Whether `around_step`, `change_batch` and `after_step` are called.
    follows_steps: bool = False

    def __init__(self, save_memory: bool = True) -> None:
        super().__init__()
        self.save_memory = save_memory
        self.state: list[keras.metrics.Metric] = []
        self.pending_state: dict[str, np.ndarray] = {}
        self.term_metrics: dict[str, Term] = {}
        self.made_for: weakref.ref[keras.Model] | None = None
        #: Whether a hook is being traced into the step, or run by an eager step.
        self.in_step = False

    @property
    def logged_names(self) -> tuple[str, ...]:
        """Returns the keys that this callback adds to the logs."""
        return self.term_names + self.diagnostic_names

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the variables of the method.

        It is called once before the first step, in the strategy scope.

        Args:
            model: The compiled model.

        Returns:
            The objects that hold the variables, such as `keras_reg.training.Scalar`. Checkpoints that are written
            during `fit` contain their values.
        """
        return []

    def saved_state(self) -> list[keras.metrics.Metric]:
        """Returns the part of the state that resumed training needs. By default, this is the whole state."""
        return self.state

    def check_model(self, model: keras.Model) -> None:
        """Raises a `ValueError` if the method cannot work on this compiled model. It is called before each `fit`."""

    def check_state(self, read: Callable[[keras.Variable], Array]) -> None:
        """Raises a `ValueError` if the state shows bad input.

        It is called after the steps 1, 2, 4, 8, ... and after each epoch.

        Args:
            read: Callable. Returns the current value of a variable of the state as a NumPy array.
        """

    def rewrite_targets(self, batch: Batch) -> Structure:
        """Returns the labels for the compiled loss, in the structure of `batch.y`."""
        return batch.y

    def rewrite_sample_weight(self, batch: Batch) -> Structure:
        """Returns the sample weights for the compiled loss, in the structure of `batch.sample_weight`, or `None`.

        The compiled loss is the weighted sum over the batch, divided by the number of samples. Compiled metrics keep
        the weights that `fit` received.

        Args:
            batch: The batch, with rewritten targets.
        """
        return batch.sample_weight

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the terms that are added to the loss.

        Args:
            batch: The batch, with rewritten targets and sample weights.

        Returns:
            For each name in `term_names` and `diagnostic_names` a pair (values, sample_weight). The values have the
            shape (batch,) and are float32, or float64 if that is Keras's default. The weights may be `None`. The loss
            gains the weighted mean of the values over the batch. An optional third entry, predictions of the model,
            applies the mask of these predictions as the compiled loss does.
        """
        return {}

    def around_step(self, data: Structure) -> contextlib.AbstractContextManager[object]:
        """Returns a context manager that is active while the model's own `train_step` is traced.

        It is called if `follows_steps` is true.

        Args:
            data: The batch as `train_step` receives it, on one replica.
        """
        return contextlib.nullcontext()

    def change_batch(self, data: Structure) -> Structure:
        """Returns the batch that the model's own `train_step` receives, in the same structure.

        It is called if `follows_steps` is true, inside the context manager of `around_step`.

        Args:
            data: The batch as `train_step` receives it, on one replica, changed by the callbacks before this one.
        """
        return data

    def after_step(self, data: Structure) -> None:
        """Runs in the compiled step, after the model's own `train_step`, if `follows_steps` is true.

        Args:
            data: The batch as `train_step` receives it, on one replica.
        """

    def detach(self) -> None:
        """Removes everything that the method added to the model."""
        raise NotImplementedError
