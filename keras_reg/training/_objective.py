"""How a callback changes the training objective of an ordinary compiled model.

`ObjectiveCallback` adds terms to the training loss, or rewrites its targets, on every kind of model and backend,
without a wrapper around the model. For the time of one `fit` it puts these functions on the model instance, each a
documented extension point of Keras: `compute_loss`, `get_metrics_result` (so that terms reach the logs) and
`make_train_function` (so that what a failed `fit` left behind is removed by the next one). A callback that does more
than change the loss has `train_step` followed by what it does, or given another batch (`step.py`).

Several callbacks may be in one `fit`. The order is the order of the list given to `fit`: targets are rewritten by each
in turn, the next one seeing what the last one made; then the compiled loss is computed on the rewritten targets; then
the terms are added. Terms see the rewritten targets.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_reg._keras import trainer
from keras_reg._keras.train_step import wrap_train_step
from keras_reg.training._hooks import ObjectiveHooks
from keras_reg.training.terms import Batch


class Objective:
    """What stands on one model while callbacks change its training objective."""

    _ATTRIBUTE = "keras_reg_objective"

    def __init__(self, model: keras.Model) -> None:
        if not has_training_argument(model.compute_loss):
            raise ValueError(
                "The model's own `compute_loss` has no argument `training`, so training cannot be told from "
                f"evaluation: add `training=True` to its signature. Received: {model.compute_loss!r}"
            )
        self.model = model
        self._carrier = _loss_tracker(model)
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
        # A built model takes up no new variables, but its loss tracker does; parts of a list can be removed again.
        self._carrier.keras_reg_state = []
        model.keras_reg_objective = self

    @classmethod
    def get_or_create(cls, model: keras.Model) -> Objective:
        """The objective of a model; a new one if nothing has changed the model's objective so far."""
        return getattr(model, cls._ATTRIBUTE, None) or cls(model)

    def add(self, callback: ObjectiveHooks) -> None:
        """Adds a callback, after those that are there."""
        if callback in self.callbacks:
            self.detach_all()
            raise ValueError(f"A callback is in the list of one `fit` twice. Received: {callback!r} two times")
        taken = {name for other in self.callbacks for name in other.logged_names}
        if taken.intersection(callback.logged_names):
            self.detach_all()
            raise ValueError(
                f"Two callbacks of one `fit` add a term of the same name. Received: {sorted(taken)} and "
                f"{list(callback.logged_names)}. Leave one out, or let them work on different outputs."
            )
        self.callbacks.append(callback)
        tracked = {id(variable) for variable in self.model.variables}
        for metric in (*callback.state, *callback.term_metrics.values()):
            # Several callbacks may hold one hyperparameter; JAX would give its buffer away twice.
            if not all(id(variable) in tracked for variable in metric.variables):
                self._carrier.keras_reg_state.append(metric)
        if len(self._following()) == 1 and callback.follows_steps:
            self.model.train_step = wrap_train_step(
                self.model, self.model.train_step, self._around_step, self.change_batch, self._after_step
            )
        # The step is traced at its first call, so that this costs nothing.
        self._make_guarded(force=True)
        self._reset_test_function()
        self._steps = 0

    def remove(self, callback: ObjectiveHooks) -> None:
        """Removes a callback; with the last one the model is as it was."""
        if callback in self.callbacks:
            self.callbacks.remove(callback)
        if not self.callbacks:
            self._restore()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The model's own loss; in training, on the rewritten targets and with the terms."""
        if not training or self.testing:  # a `test_step` of one's own may not say so
            self.evaluating = True
            return self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        self.evaluating = False
        batch = Batch(x, y, y_pred, sample_weight, labels=y)
        for callback in self.callbacks:
            batch = dataclasses.replace(batch, y=callback.rewrite_targets(batch))
        loss = self._compute_loss(x=x, y=batch.y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        for callback in self.callbacks:
            for name, term in callback.terms(batch).items():
                contribution = callback.term_metrics[name].add(*term)
                if name in callback.term_names:
                    loss = loss + ops.cast(contribution, loss.dtype)
        return loss

    def change_batch(self, data: Any) -> Any:
        """A batch as the model's step gets it."""
        for callback in self._following():
            data = callback.change_batch(data)
        return data

    def _following(self) -> list[ObjectiveHooks]:
        return [callback for callback in self.callbacks if callback.follows_steps]

    def _around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        with contextlib.ExitStack() as stack:
            for callback in self._following():
                stack.enter_context(callback.around_step(data))
            return stack.pop_all()

    def _after_step(self, data: Any) -> None:
        for callback in self._following():
            callback.after_step(data)

    def get_metrics_result(self) -> dict[str, Any]:
        """The model's own metrics; in training, and the terms."""
        result = dict(self._get_metrics_result())
        if not self.evaluating:
            for callback in self.callbacks:
                result.update({name: term.result() for name, term in callback.term_metrics.items()})
        return result

    def make_train_function(self, force: bool = False) -> Any:
        """Begins a new `fit`: what a failed one has left behind is removed."""
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
        """The training step, undoing everything if it raises, and looking after it for recorded bad input."""

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
        # Reading a variable waits for the accelerator: after steps 1, 2, 4, 8, ... that costs nothing in the long run.
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
        """Removes all callbacks: the model is as it was."""
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
        """Makes `evaluate` begin anew where it knows how the model's variables lie: now there are others."""
        if keras.distribution.distribution() is not None:
            self.model.test_function = None


_OVERRIDDEN = ("compute_loss", "get_metrics_result", "make_train_function")


def has_training_argument(function: Callable[..., Any]) -> bool:
    """Whether a function takes `training`."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == "training" or p.kind is p.VAR_KEYWORD for p in parameters)


def _loss_tracker(model: keras.Model) -> keras.metrics.Metric:
    """The metric that carries the state: the mean of the loss, which every compiled model has."""
    for metric in model.metrics:
        if isinstance(metric, keras.metrics.Mean):
            return metric
    raise ValueError(
        "The model's `metrics` hold no `keras.metrics.Mean`, such as the tracker of the loss, to carry the method's "
        f"state. Received: metrics={model.metrics}"
    )
