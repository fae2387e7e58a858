"""The base class of callbacks that change the training objective."""

from __future__ import annotations

import pathlib
import weakref
from typing import Any

import keras
from keras import ops

from keras_reg._keras import replicas, trainer
from keras_reg._keras.callback_model import model_without_update
from keras_reg._validation import check_boolean
from keras_reg.training import _checkpoint
from keras_reg.training._hooks import ObjectiveHooks
from keras_reg.training._objective import Objective
from keras_reg.training.terms import Term


class ObjectiveCallback(ObjectiveHooks):
    """Base class of callbacks that change what `fit` minimizes: they add loss terms, or rewrite targets and weights.

    A subclass overrides one or more of these methods:

    - `terms`, together with the class attribute `term_names`, to add terms to the loss;
    - `rewrite_targets`, to change the labels that the compiled loss receives;
    - `rewrite_sample_weight`, to change its sample weights;
    - `create_state`, to create variables that the step reads and writes, such as a `keras_reg.training.Scalar`.

    The first three are traced into the compiled step: use `keras.ops`, and no Python state that changes. The callback
    works with any compiled model and loss, and leaves the model unchanged after `fit`.

    Args:
        save_memory: Boolean. Whether checkpoints that are written during `fit` contain the state. Defaults to `True`.

    Attributes:
        term_names: Tuple of strings. The names of the terms in the logs.
        diagnostic_names: Tuple of strings. More names that `terms` returns, for the logs only.

    Example:

    ```python
    class ConfidencePenalty(keras_reg.training.ObjectiveCallback):
        term_names = ("confidence",)

        def terms(self, batch):
            p = keras.ops.softmax(keras.ops.cast(batch.y_pred, "float32"))
            penalty = keras.ops.sum(p * keras.ops.log(p + 1e-7), axis=-1)
            return {"confidence": (0.1 * penalty, batch.sample_weight)}


    model.fit(x, y, callbacks=[ConfidencePenalty()])
    ```
    """

    def __init__(self, save_memory: bool = True) -> None:
        super().__init__(save_memory=check_boolean("save_memory", save_memory))
        self._objective: Objective | None = None

    def save_state(self, path: str | pathlib.Path) -> None:
        """Writes the state to an `.npz` file, from which `load_state` resumes.

        Args:
            path: String or path. The file to write.
        """
        _checkpoint.save_file(self, path)

    def load_state(self, path: str | pathlib.Path) -> None:
        """Reads the state that `save_state` wrote. The next `fit` continues with it.

        Args:
            path: String or path. The file to read.
        """
        _checkpoint.load_file(self, path)

    def set_model(self, model: keras.Model) -> None:
        """Receives the model from Keras, and registers the state for checkpoints."""
        # An interrupted `fit` may have left overrides, which are removed before the callbacks of this `fit` register.
        if self._objective is not None and trainer.is_fit_starting():
            self._objective.detach_all()
        super().set_model(model)
        # Callbacks that restore weights do so in `on_train_begin`, and may come first in the list.
        _checkpoint.register(model, self)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on: creates the state, and installs the overrides on the model."""
        model = self.model
        try:
            if self.one_model and self.state and self.made_for is not None and self.made_for() is not model:
                raise ValueError(
                    f"This {type(self).__name__} has the state of another model. Use a new one for each model. To "
                    f"continue with that state, pass it on by `save_state` and `load_state`. Received: {model!r}"
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
        """Resets the means that the logs of the epoch show."""
        for term in self.term_metrics.values():
            term.reset_state()
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Raises a `ValueError` for bad input that the compiled step could only record."""
        try:
            self.check_state(ops.convert_to_numpy)
        except ValueError:
            self.detach()
            raise

    def on_test_begin(self, logs: Any = None) -> None:
        """Hides the terms while the model is evaluated."""
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = True

    def on_test_end(self, logs: Any = None) -> None:
        """Shows the terms again."""
        if self._objective is not None:
            self._objective.evaluating = self._objective.testing = False
        else:
            self.detach()

    def on_predict_end(self, logs: Any = None) -> None:
        """Detaches from the model if it was only used for predictions."""
        if self._objective is None:
            self.detach()

    def on_train_end(self, logs: Any = None) -> None:
        """Switches the method off."""
        self.detach()

    def detach(self) -> None:
        """Removes everything that the method added to the model."""
        objective, self._objective = self._objective, None
        if objective is not None:
            objective.remove(self)
        model = model_without_update(self)
        if model is not None:
            _checkpoint.unregister(model, self)
