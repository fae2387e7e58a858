"""The base of callbacks that change the training objective; what they do to a model is in `objective.py`."""

from __future__ import annotations

import pathlib
import weakref
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas, trainer
from keras_reg._keras.callback_model import model_without_update
from keras_reg.training import _checkpoint
from keras_reg.training._hooks import ObjectiveHooks
from keras_reg.training._objective import Objective
from keras_reg.training.terms import Term


class ObjectiveCallback(ObjectiveHooks):
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

    def __init__(self, save_memory: bool = True) -> None:
        super().__init__(save_memory=save_memory)
        self._objective: Objective | None = None

    def save_state(self, path: str | pathlib.Path) -> None:
        """Writes the state to an `.npz` file, to resume another day.

        Args:
            path: The file to write.
        """
        _checkpoint.save_file(self, path)

    def load_state(self, path: str | pathlib.Path) -> None:
        """Reads the state that `save_state` wrote; the next `fit` goes on with it.

        Args:
            path: The file to read.
        """
        _checkpoint.load_file(self, path)

    def set_model(self, model: keras.Model) -> None:
        """Keras hands over the model."""
        # What a `fit` that did not come to its end has left is taken off before the callbacks of this one register.
        if self._objective is not None and trainer.is_fit_starting():
            self._objective.detach_all()
        super().set_model(model)
        # Callbacks that restore weights do it in `on_train_begin`, whichever comes first in the list.
        _checkpoint.register(model, self)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        model = self.model
        try:
            if self.one_model and self.state and self.made_for is not None and self.made_for() is not model:
                raise ValueError(
                    f"This {type(self).__name__} has the state of another model: use a new one for each model. To go "
                    f"on with that state, give it to the new one by `save_state` and `load_state`. Received: {model!r}"
                )
            self.check_model(model)
            if not (self.state or self.term_metrics):
                self.made_for = weakref.ref(model)
                with replicas.scope(model):
                    self.state = self.create_state(model)
                    self.term_metrics = {name: Term(name) for name in self.logged_names}
            _checkpoint.restore_pending(self)
            self._objective = Objective.get_or_create(model)
            self._objective.add(self)
        except BaseException:
            self.detach()
            raise

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the epoch's means."""
        for term in self.term_metrics.values():
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
        model = model_without_update(self)
        if model is not None:
            _checkpoint.unregister(model, self)
