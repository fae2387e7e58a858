"""The overrides that `ObjectiveCallback` installs on a compiled model while `fit` runs.

They are three methods of the model instance, each a documented extension point of Keras: `compute_loss` for the
objective, `get_metrics_result` for the terms in the logs, and `make_train_function`, so that the next `fit` cleans up
after a failed one. If a callback follows steps, `train_step` is wrapped too. `docs/architecture.md` shows how a batch
passes through them.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_reg._keras import trainer
from keras_reg._keras.train_step import wrap_train_step
from keras_reg.training._hooks import ObjectiveHooks
from keras_reg.training.terms import Batch


class Objective:
    """Holds the overrides of one model while callbacks change its training objective.

    Args:
        model: The compiled model.

    Raises:
        ValueError: If the model cannot be trained with another objective.
    """

    _ATTRIBUTE = "keras_reg_objective"

    def __init__(self, model: keras.Model) -> None:
        if not trainer.has_training_argument(model.compute_loss):
            raise ValueError(
                "The model's own `compute_loss` has no argument `training`, so training cannot be "
                "distinguished from evaluation. Add `training=True` to its signature. "
                f"Received: {model.compute_loss!r}"
            )
        self.model = model
        self._carrier = trainer.find_loss_tracker(model)
        self.callbacks: list[ObjectiveHooks] = []
        self.evaluating = self.testing = False
        self._steps = 0
        self._compute_loss = model.compute_loss
        self._get_metrics_result = model.get_metrics_result
        self._make_train_function = model.make_train_function
        self._own = {name: vars(model)[name] for name in (*_OVERRIDDEN, "train_step") if name in vars(model)}
        model.compute_loss = self.compute_loss
        model.get_metrics_result = self.get_metrics_result
        model.make_train_function = self.make_train_function
        # A built model accepts no new variables, but its loss tracker does. A list can be emptied again.
        self._carrier.keras_reg_state = []
        model.keras_reg_objective = self

    @classmethod
    def get_or_create(cls, model: keras.Model) -> Objective:
        """Returns the objective of a model. Creates it if no callback has changed the model's objective so far."""
        return getattr(model, cls._ATTRIBUTE, None) or cls(model)

    def add(self, callback: ObjectiveHooks) -> None:
        """Adds a callback after the existing ones.

        Raises:
            ValueError: If the callback was already added, or the name of one of its terms is taken.
        """
        if callback in self.callbacks:
            self.detach_all()
            raise ValueError(f"A callback must be in the list of a `fit` only once. Received: {callback!r} twice")
        taken = {name for other in self.callbacks for name in other.logged_names}
        if taken.intersection(callback.logged_names):
            self.detach_all()
            raise ValueError(
                f"Two callbacks of one `fit` add a term of the same name. Received: {sorted(taken)} and "
                f"{list(callback.logged_names)}. Remove one, or let them work on different outputs."
            )
        self.callbacks.append(callback)
        tracked = {id(variable) for variable in self.model.variables}
        for metric in (*callback.state, *callback.term_metrics.values()):
            # Several callbacks may hold the same hyperparameter, whose buffer JAX would donate twice.
            if not all(id(variable) in tracked for variable in metric.variables):
                self._carrier.keras_reg_state.append(metric)
        if len(self._following()) == 1 and callback.follows_steps:
            self.model.train_step = wrap_train_step(
                self.model, self.model.train_step, self._around_step, self.change_batch, self._after_step
            )
        # Rebuilding the step costs nothing, because the step is traced in its first call.
        self._make_guarded(force=True)
        self._reset_test_function()
        self._steps = 0

    def remove(self, callback: ObjectiveHooks) -> None:
        """Removes a callback. After the last one, restores the model."""
        if callback in self.callbacks:
            self.callbacks.remove(callback)
        if not self.callbacks:
            self._restore()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Computes the model's own loss. In training, uses the rewritten targets and weights, and adds the terms."""
        # A custom `test_step` may call this with `training=True`.
        if not training or self.testing:
            self.evaluating = True
            return self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        self.evaluating = False
        with self._in_step():
            batch = Batch(x, y, y_pred, sample_weight, labels=y)
            for callback in self.callbacks:
                batch = dataclasses.replace(batch, y=callback.rewrite_targets(batch))
                batch = dataclasses.replace(batch, sample_weight=callback.rewrite_sample_weight(batch))
            loss = self._compute_loss(x=x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight, training=True)
            for callback in self.callbacks:
                for name, term in callback.terms(batch).items():
                    contribution = callback.term_metrics[name].add(*term)
                    if name in callback.term_names:
                        loss = loss + ops.cast(contribution, loss.dtype)
        return loss

    @contextlib.contextmanager
    def _in_step(self) -> Iterator[None]:
        """Marks the callbacks as running inside the step."""
        # A hook may compute the loss again, so the flags are restored and not cleared.
        before = [(callback, callback.in_step) for callback in self.callbacks]
        for callback, _ in before:
            callback.in_step = True
        try:
            yield
        finally:
            for callback, flag in before:
                callback.in_step = flag

    def change_batch(self, data: Any) -> Any:
        """Returns a batch as the model's step receives it."""
        with self._in_step():
            for callback in self._following():
                data = callback.change_batch(data)
        return data

    def _following(self) -> list[ObjectiveHooks]:
        return [callback for callback in self.callbacks if callback.follows_steps]

    def _around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        with self._in_step(), contextlib.ExitStack() as stack:
            for callback in self._following():
                stack.enter_context(callback.around_step(data))
            return stack.pop_all()

    def _after_step(self, data: Any) -> None:
        with self._in_step():
            for callback in self._following():
                callback.after_step(data)

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns the model's own metrics. In training, adds the terms."""
        result = dict(self._get_metrics_result())
        if not self.evaluating:
            for callback in self.callbacks:
                result.update({name: term.result() for name, term in callback.term_metrics.items()})
        return result

    def make_train_function(self, force: bool = False) -> Any:
        """Builds the training function. At the start of `fit`, first cleans up after a failed `fit`."""
        if trainer.is_called_by_fit():
            self.detach_all()
            return self.model.make_train_function(force=True)
        return self._make_guarded(force)

    def _make_guarded(self, force: bool) -> Any:
        before = self.model.train_function
        made = self._make_train_function(force=force)
        if self.model.train_function is not before:
            self.model.train_function = self._guarded(self.model.train_function)
        return made

    def _guarded(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps the training step: restores the model if the step raises, and checks the state after the step."""

        def guarded_step(*arguments: Any) -> Any:
            state = arguments[0]
            try:
                result = step(*arguments)
                if keras.backend.backend() == "jax":
                    state = result[1]
                self._check(state)
            except BaseException as error:
                if not trainer.is_end_of_data(error):
                    trainer.restore_jax_state(self.model, state)
                    self.detach_all()
                raise
            return result

        return guarded_step

    def _check(self, state: Any) -> None:
        self._steps += 1
        # Reading a variable waits for the accelerator. Doing so only after steps 1, 2, 4, 8, ... costs almost nothing.
        rare = self._steps & (self._steps - 1) == 0
        callbacks = [callback for callback in self.callbacks if rare or callback.check_every_step]
        if not callbacks:
            return
        if keras.backend.backend() == "jax":
            values = {id(v): value for v, value in zip(self.model.metrics_variables, state[3], strict=True)}
            read = lambda variable: ops.convert_to_numpy(values[id(variable)])  # noqa: E731
        else:
            read = ops.convert_to_numpy
        for callback in callbacks:
            callback.check_state(read)

    def detach_all(self) -> None:
        """Removes all callbacks and restores the model."""
        for callback in list(self.callbacks):
            callback.detach()
        self._restore()

    def _restore(self) -> None:
        model = self.model
        if getattr(model, self._ATTRIBUTE, None) is not self:
            return
        self._carrier.keras_reg_state.clear()
        del self._carrier.keras_reg_state
        for name in (*_OVERRIDDEN, "train_step", self._ATTRIBUTE):
            if name in vars(model):
                delattr(model, name)
        for name, value in self._own.items():
            setattr(model, name, value)
        model.train_function = None
        self._reset_test_function()

    def _reset_test_function(self) -> None:
        """Makes `evaluate` rebuild its function if the function depends on the layout of the model's variables."""
        if keras.distribution.distribution() is not None:
            self.model.test_function = None


_OVERRIDDEN = ("compute_loss", "get_metrics_result", "make_train_function")
