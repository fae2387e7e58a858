"""The base of callbacks that change the training objective; what they do to a model is in `objective.py`."""

from __future__ import annotations

import contextlib
import pathlib
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.training import checkpoint, keras_faults, replicas
from keras_reg.training.objective import Objective
from keras_reg.training.terms import Batch, Term


class ObjectiveCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Base of the callbacks that change what `fit` minimizes.

    A subclass defines `term_names`, and `terms` or `rewrite_targets` or both; if it keeps variables it makes them in
    `create_state`. All of them are traced into the compiled step: use `keras.ops`, and no Python state.

    Args:
        save_memory: Whether the state goes into checkpoints that are written during `fit`.

    Example:

    ```python
    class ConfidencePenalty(keras_reg.training.ObjectiveCallback):
        term_names = ("confidence",)

        def terms(self, batch):
            p = keras.ops.softmax(keras.ops.cast(batch.y_pred, "float32"))
            return {"confidence": (0.1 * keras.ops.sum(p * keras.ops.log(p + 1e-7), axis=-1), batch.sample_weight)}


    model.fit(x, y, callbacks=[ConfidencePenalty()])
    ```
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
        self._terms: dict[str, Term] = {}
        self._objective: Objective | None = None
        self._made_for: weakref.ref[keras.Model] | None = None

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

    def save_state(self, path: str | pathlib.Path) -> None:
        """Writes the state to an `.npz` file, to resume another day.

        Args:
            path: The file to write.
        """
        checkpoint.save_file(self, path)

    def load_state(self, path: str | pathlib.Path) -> None:
        """Reads the state that `save_state` wrote; the next `fit` goes on with it.

        Args:
            path: The file to read.
        """
        checkpoint.load_file(self, path)

    def set_model(self, model: keras.Model) -> None:
        """Keras hands over the model."""
        # What a `fit` that did not come to its end has left is taken off before the callbacks of this one register.
        if self._objective is not None and keras_faults.callbacks_are_not_told_what_begins():
            self._objective.abandon()
        super().set_model(model)
        # Callbacks that restore weights do it in `on_train_begin`, whichever comes first in the list.
        checkpoint.register(model, self)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        model = self.model
        try:
            if self.one_model and self.state and self._made_for is not None and self._made_for() is not model:
                raise ValueError(
                    f"This {type(self).__name__} has the state of another model: use a new one for each model. To go "
                    f"on with that state, give it to the new one by `save_state` and `load_state`. Received: {model!r}"
                )
            self.check_model(model)
            if not (self.state or self._terms):
                self._made_for = weakref.ref(model)
                with replicas.scope(model):
                    self.state = self.create_state(model)
                    self._terms = {name: Term(name) for name in self.logged_names}
            checkpoint.restore_pending(self)
            self._objective = Objective.of(model)
            self._objective.add(self)
        except BaseException:
            self.detach()
            raise

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's means."""
        for term in self._terms.values():
            term.reset_state()
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks for bad input that the compiled step could only record."""
        try:
            self.check_state(ops.convert_to_numpy)
        except ValueError:
            self.detach()
            raise

    def on_test_begin(self, logs: Any = None) -> None:
        """Hides the terms while a model is evaluated."""
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = True

    def on_test_end(self, logs: Any = None) -> None:
        """Shows the terms again."""
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = False
        else:
            self.detach()

    def on_predict_end(self, logs: Any = None) -> None:
        """Leaves a model that was only asked for predictions."""
        if self._objective is None:
            self.detach()

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off."""
        self.detach()

    def detach(self) -> None:
        """Takes everything off the model that the method put on it: the model is the user's own again."""
        objective, self._objective = self._objective, None
        if objective is not None:
            objective.remove(self)
        if self._model is not None:
            checkpoint.unregister(self._model, self)
