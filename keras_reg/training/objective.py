"""How a callback changes the training objective of an ordinary compiled model.

`ObjectiveCallback` adds terms to the training loss, or rewrites its targets, on every kind of model and backend,
without a wrapper around the model. For the time of one `fit` it puts three functions on the model instance, each a
documented extension point of Keras: `compute_loss`, `get_metrics_result` (so that terms reach the logs) and
`make_train_function` (so that what a failed `fit` left behind is removed by the next one).

Several callbacks may be in one `fit`. The order is the order of the list given to `fit`: targets are rewritten by each
in turn, the next one seeing what the last one made; then the compiled loss is computed on the rewritten targets; then
the terms are added. Terms see the rewritten targets.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg.training import checkpoint, keras_faults, replicas


@dataclasses.dataclass(frozen=True)
class Batch:
    """What the training step knows of one batch, on one replica.

    Attributes:
        x: The inputs as `fit` received them, with every extra key.
        y: The labels, as rewritten so far.
        y_pred: The predictions of the training forward pass.
        sample_weight: The sample weights (class weights included), or `None`.
        labels: The labels as `fit` received them, before any callback rewrote them.
    """

    x: Any
    y: Any
    y_pred: Any
    sample_weight: Any
    labels: Any


class _MeanOverBatch(keras.losses.Loss):  # type: ignore[misc]
    """Per-sample values -> the scalar that Keras makes of a loss: weighted, averaged, scaled for the replicas."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


class Term(keras.metrics.Metric):  # type: ignore[misc]
    """One term of the objective: its contribution to the loss, and its mean over the epoch for the logs."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.mean = keras.metrics.Mean(name=name)
        self._reduce = _MeanOverBatch(dtype=compute_dtype(), name=name)

    def add(self, values: Any, sample_weight: Any) -> Any:
        """The contribution of per-sample `values`, shape (batch,), to the training loss."""
        contribution = self._reduce(ops.zeros_like(values), values, sample_weight)
        unscaled = ops.stop_gradient(contribution) * replicas.num_replicas()
        self.mean.update_state(unscaled, sample_weight=ops.shape(values)[0])
        return contribution

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """The same as `add`, under the name that metrics have."""
        self.add(values, sample_weight)

    def result(self) -> Any:
        """The mean contribution since the epoch began."""
        return self.mean.result()

    def reset_state(self) -> None:
        """Starts a new epoch."""
        self.mean.reset_state()


def compute_dtype() -> str:
    """The type that terms are computed in: float32, or float64 where that is Keras's default."""
    return "float64" if keras.config.floatx() == "float64" else "float32"


class ObjectiveCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """Base of the callbacks that change what `fit` minimizes.

    A subclass defines `term_names`, and `terms` or `rewrite_targets` or both; if it keeps variables it makes them in
    `create_state`. All of them are traced into the compiled step: use `keras.ops`, and no Python state.
    """

    #: What the terms are called in the logs; `terms` returns the same keys.
    term_names: tuple[str, ...] = ()

    def __init__(self, save_memory: bool = True) -> None:
        super().__init__()
        #: Whether the state goes into checkpoints that are written during `fit`.
        self.save_memory = save_memory
        self.state: list[keras.metrics.Metric] = []
        self.pending_state: dict[str, np.ndarray] = {}
        self._terms: dict[str, Term] = {}
        self._objective: Objective | None = None

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

    def rewrite_targets(self, batch: Batch) -> Any:
        """The labels that the compiled loss is computed with; the same structure as `batch.y`."""
        return batch.y

    def terms(self, batch: Batch) -> dict[str, tuple[Any, Any]]:
        """The terms to add to the loss.

        Args:
            batch: The batch, with rewritten targets.

        Returns:
            For each of `term_names` a pair (values, sample_weight): values of shape (batch,) in `compute_dtype()`,
            and the weights they get, or `None`. The loss gains the weighted mean over the batch.
        """
        return {}

    def set_model(self, model: keras.Model) -> None:
        """Keras hands over the model."""
        super().set_model(model)
        # Callbacks that restore weights do it in `on_train_begin`, whichever comes first in the list.
        checkpoint.register(model, self)

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        model = self.model
        try:
            self.check_model(model)
            if not self._terms:
                with replicas.scope(model):
                    self.state = self.create_state(model)
                    self._terms = {name: Term(name) for name in self.term_names}
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
            self._objective.evaluating = False

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
            self._objective.evaluating = True

    def on_test_end(self, logs: Any = None) -> None:
        """Shows the terms again."""
        if self._objective is not None:
            self._objective.evaluating = False
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


class Objective:
    """What stands on one model while callbacks change its training objective."""

    _ATTRIBUTE = "keras_reg_objective"

    def __init__(self, model: keras.Model) -> None:
        if not _has_training_argument(model.compute_loss):
            raise ValueError(
                "The model's own `compute_loss` has no argument `training`, so training cannot be told from "
                f"evaluation: add `training=True` to its signature. Received: {model.compute_loss!r}"
            )
        self.model = model
        self._carrier = _loss_tracker(model)
        self.callbacks: list[ObjectiveCallback] = []
        self.evaluating = False
        self._steps = 0
        self._compute_loss = model.compute_loss
        self._get_metrics_result = model.get_metrics_result
        self._make_train_function = model.make_train_function
        self._own = {name: vars(model)[name] for name in _OVERRIDDEN if name in vars(model)}
        model.compute_loss = self.compute_loss
        model.get_metrics_result = self.get_metrics_result
        model.make_train_function = self.make_train_function
        # A built model takes up no new variables, but its loss tracker does; parts of a list can be removed again.
        self._carrier.keras_reg_state = []
        model.keras_reg_objective = self

    @classmethod
    def of(cls, model: keras.Model) -> Objective:
        """The objective of a model; a new one if nothing has changed the model's objective so far."""
        return getattr(model, cls._ATTRIBUTE, None) or cls(model)

    def add(self, callback: ObjectiveCallback) -> None:
        """Adds a callback, after those that are there."""
        taken = {name for other in self.callbacks for name in other.term_names}
        if taken.intersection(callback.term_names):
            self._abandon()
            raise ValueError(
                f"Two callbacks of one `fit` add a term of the same name. Received: {sorted(taken)} and "
                f"{list(callback.term_names)}. Leave one out, or let them work on different outputs."
            )
        self.callbacks.append(callback)
        for metric in (*callback.state, *callback._terms.values()):
            self._carrier.keras_reg_state.append(metric)
        # The step is traced at its first call, so that this costs nothing.
        self._make_train_function(force=True)
        self._steps = 0
        self.model.train_function = self._guarded(self.model.train_function)

    def remove(self, callback: ObjectiveCallback) -> None:
        """Removes a callback; with the last one the model is as it was."""
        if callback in self.callbacks:
            self.callbacks.remove(callback)
        if not self.callbacks:
            self._restore()

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The model's own loss; in training, on the rewritten targets and with the terms."""
        if not training:
            self.evaluating = True
            return self._compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=False)
        self.evaluating = False
        batch = Batch(x, y, y_pred, sample_weight, labels=y)
        for callback in self.callbacks:
            batch = dataclasses.replace(batch, y=callback.rewrite_targets(batch))
        loss = self._compute_loss(x=x, y=batch.y, y_pred=y_pred, sample_weight=sample_weight, training=True)
        for callback in self.callbacks:
            for name, (values, weight) in callback.terms(batch).items():
                loss = loss + ops.cast(callback._terms[name].add(values, weight), loss.dtype)
        return loss

    def get_metrics_result(self) -> dict[str, Any]:
        """The model's own metrics; in training, and the terms."""
        result = dict(self._get_metrics_result())
        if not self.evaluating:
            for callback in self.callbacks:
                result.update({name: term.result() for name, term in callback._terms.items()})
        return result

    def make_train_function(self, force: bool = False) -> Any:
        """Begins a new `fit`: what a failed one has left behind is removed."""
        if sys._getframe(1).f_code.co_name == "fit":
            self._abandon()
            return self.model.make_train_function(force=True)
        return self._make_train_function(force=force)

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
                if not keras_faults.is_end_of_data(error):
                    keras_faults.failed_jax_step_leaves_the_model_without_weights(self.model, state)
                    self._abandon()
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

    def _abandon(self) -> None:
        for callback in list(self.callbacks):
            callback.detach()
        self._restore()

    def _restore(self) -> None:
        model = self.model
        if getattr(model, self._ATTRIBUTE, None) is not self:
            return
        self._carrier.keras_reg_state.clear()
        del self._carrier.keras_reg_state
        for name in (*_OVERRIDDEN, self._ATTRIBUTE):
            delattr(model, name)
        for name, value in self._own.items():
            setattr(model, name, value)
        model.train_function = None


_OVERRIDDEN = ("compute_loss", "get_metrics_result", "make_train_function")


def _has_training_argument(function: Callable[..., Any]) -> bool:
    import inspect

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
